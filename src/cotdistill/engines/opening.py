"""From settings to a model that can be asked, and to its identity in keys. Heavy modules are loaded only here."""

from __future__ import annotations

from typing import Any

from cotdistill.config import ScriptedModel, ServedModel, ServerSettings, TransformersModel, VLLMModel, identity
from cotdistill.engines.engine import Engine
from cotdistill.storage.hashes import file_sha256

AskedModel = ServedModel | TransformersModel | VLLMModel | ScriptedModel


def open_engine(asked: AskedModel, *, num_beams: int = 1, max_reasoning_tokens: int | None = None) -> Engine:
    """Beams and a limit of reasoning are for transformers alone.

    Raises ConfigError for a missing package or key, ModelError for an unusable model, DataError for an unusable script.
    """
    if isinstance(asked, ScriptedModel):
        from cotdistill.engines.scripted import ScriptedEngine

        return ScriptedEngine(asked)
    if isinstance(asked, ServedModel):
        from cotdistill.engines.openai_engine import OpenAIEngine

        return OpenAIEngine(asked)
    if isinstance(asked, VLLMModel):
        from cotdistill.engines.vllm_engine import VLLMEngine

        return VLLMEngine(asked)
    from cotdistill.engines.transformers_engine import TransformersEngine

    return TransformersEngine.open(asked, num_beams=num_beams, max_reasoning_tokens=max_reasoning_tokens)


def identity_of(asked: AskedModel) -> Any:
    """Everything that identifies the model: the content of its files, a server's address and name, a script's content.

    Loads nothing. Raises ModelError for a missing model of this process, DataError for a missing script.
    """
    if isinstance(asked, ServedModel):
        server = ServerSettings(**{name: getattr(asked, name) for name in ServerSettings.model_fields})
        return [asked.at, identity(server)]
    if isinstance(asked, ScriptedModel):
        return [asked.kind, file_sha256(asked.completions)]
    from cotdistill.models.load.source import model_identity

    return [asked.kind, model_identity(asked.model), asked.dtype]


def name_of(asked: AskedModel) -> str:
    """The name used in records and error lines."""
    if isinstance(asked, ScriptedModel):
        return asked.kind
    return asked.model if isinstance(asked, ServedModel) else asked.model.model
