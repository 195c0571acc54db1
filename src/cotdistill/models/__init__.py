"""The only door to model libraries: loading and saving models, their templates, vocabularies and generation."""
