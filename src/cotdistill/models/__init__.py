"""The only place that uses model libraries: loading and saving models, templates, vocabularies, generation."""
