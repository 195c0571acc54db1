"""A model's folder may say anything: no code of it runs, nothing outside it is read, no memory is asked for in vain."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.command import run_command
from tests.tiny import save_tiny, tiny_model

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity
from cotdistill.models.load.source import BASE_MODEL, config_folder

INDEX = "model.safetensors.index.json"


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "tiny", chat=True)


def load(folder: Path, **settings: Any) -> Any:
    return load_model(ModelConfig(model=str(folder), **settings), dtype=torch.float32, device="cpu")


def refused(folder: Path, match: str, **settings: Any) -> None:
    """The folder is refused in one line, both when a plan names it and when it is loaded."""
    with pytest.raises(ModelError, match=match) as error:
        load(folder, **settings)
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match=match):
        model_identity(ModelConfig(model=str(folder), **settings))


def read_or_one_line(folder: Path) -> None:
    """Model and tokenizer are read, or refused in one line."""
    lines = []
    for read in (load, lambda place: load_tokenizer(ModelConfig(model=str(place)))):
        try:
            read(folder)
        except ModelError as error:
            lines.append(str(error))
    assert not any("\n" in line for line in lines)


def split(folder: Path, shard: Any, content: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """Let an index name ``shard`` for every weight of the folder, beside a small safetensors file."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({"x": torch.zeros(1)}, folder / "x.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return weights


# ---- what an index names ----


@pytest.mark.parametrize("name", ["w.bin", "w.pt", "w.pth", "w.ckpt", "w", "w.gguf", "w.safetensors.bin"])
def test_an_index_that_names_a_pickle(folder: Path, name: str) -> None:
    weights, mark = split(folder, name), folder / "mark"
    torch.save(weights, folder / name)
    refused(folder, rf"{INDEX}: it names weights that are no safetensors, '{name}'; convert them")
    (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    refused(folder, "no safetensors")
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["../w.safetensors", "s/w.safetensors", "/W", "..", ".", "", "a\\w.safetensors", "a\0b"]
)
def test_an_index_that_names_another_folder(folder: Path, name: str) -> None:
    place = str(folder.parent / "w.safetensors") if name == "/W" else name
    weights = split(folder, place)
    (folder / "s").mkdir()
    for elsewhere in (folder.parent / "w.safetensors", folder / "s" / "w.safetensors"):
        save_file(weights, elsewhere, metadata={"format": "pt"})
    refused(folder, "it names weights outside its folder")
    refused(folder, "it names weights outside its folder", allow_pickle=True)


@pytest.mark.parametrize("name", [7, None, ["w.safetensors"], {"a": "w.safetensors"}, True])
def test_an_index_that_names_no_file(folder: Path, name: Any) -> None:
    split(folder, name)
    refused(folder, "it names weights outside its folder")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"weight_map": {"a": ' + "9" * 5000 + "}}", "not JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "it has no weight_map"),
        ('{"weight_map": []}', "it has no weight_map"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "it names weights that are missing, 'gone.safetensors'"),
    ],
)
def test_an_index_of_another_shape(folder: Path, text: str, match: str) -> None:
    split(folder, "x")
    (folder / INDEX).write_text(text, encoding="utf-8")
    refused(folder, match)


def test_an_index_of_pickles_is_read_and_hashed_where_it_is_allowed(folder: Path) -> None:
    weights = split(folder, "w.bin")
    (folder / INDEX).rename(folder / "pytorch_model.bin.index.json")
    torch.save(weights, folder / "w.bin")
    with pytest.raises(ModelError):
        load(folder)
    assert load(folder, allow_pickle=True).num_parameters() > 0
    before = model_identity(ModelConfig(model=str(folder), allow_pickle=True))
    torch.save({name: weight + 1 for name, weight in weights.items()}, folder / "w.bin")
    assert model_identity(ModelConfig(model=str(folder), allow_pickle=True)) != before


def test_a_sound_index_is_read_and_each_shard_is_hashed(folder: Path) -> None:
    expected = load(folder).state_dict()
    weights = split(folder, "w.safetensors")
    save_file(weights, folder / "w.safetensors", metadata={"format": "pt"})
    before = model_identity(ModelConfig(model=str(folder)))
    assert all(torch.equal(weight, expected[name]) for name, weight in load(folder).state_dict().items())
    weights["model.norm.weight"][0] += 1
    save_file(weights, folder / "w.safetensors", metadata={"format": "pt"})
    assert model_identity(ModelConfig(model=str(folder))) != before


def test_links_stay_in_the_folder_or_the_hubs_cache(folder: Path, tmp_path: Path) -> None:
    before = model_identity(ModelConfig(model=str(folder)))
    file = folder / "model.safetensors"
    file.rename(tmp_path / "w.safetensors")
    file.symlink_to(tmp_path / "w.safetensors")
    refused(folder, "its weights are a link to another folder")
    (tmp_path / "hub" / "blobs").mkdir(parents=True)
    snapshot = shutil.copytree(folder, tmp_path / "hub" / "snapshots" / "0123", symlinks=True)
    (tmp_path / "w.safetensors").rename(tmp_path / "hub" / "blobs" / "abc")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    assert load(snapshot).num_parameters() > 0
    assert model_identity(ModelConfig(model=str(snapshot))) == before


# ---- what a config says ----


def change(folder: Path, **settings: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"num_hidden_layers": 1_000_000}, "num_hidden_layers is more than 10,000"),
        ({"num_hidden_layers": 10**18}, "num_hidden_layers is more than 10,000"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is more than 10,000"),
        ({"attn_implementation": "someone/attention"}, "attn_implementation names code from elsewhere"),
        ({"text_config": {"attn_implementation": "a/b:c"}}, "attn_implementation names code from elsewhere"),
        ({"transformers_weights": "adapter_model.bin"}, "it names weights that are no safetensors"),
        ({"transformers_weights": "s/w.safetensors"}, "it names weights outside its folder"),
    ],
)
def test_a_config_that_a_plan_refuses(folder: Path, setting: dict[str, Any], match: str) -> None:
    change(folder, **setting)
    refused(folder, match)


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "head_dim"])
@pytest.mark.parametrize("value", [10**6, 10**9, 10**15, 2**63, -1, 0, "x", [1], {"a": 1}, None, 1e300])
def test_a_config_that_disagrees_with_its_weights(folder: Path, key: str, value: Any) -> None:
    change(folder, **{key: value})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if (key, value) == ("head_dim", None):  # its default
        load(folder)
    else:
        with pytest.raises(ModelError) as error:
            load(folder)
        assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"


def test_a_config_of_many_layers_is_refused_while_they_are_made(folder: Path) -> None:
    change(folder, num_hidden_layers=9_999)
    with pytest.raises(ModelError, match=r"describes a larger model than its weights make \([\d,]+ numbers in 21 tens"):
        load(folder)


def test_a_header_that_lies_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    for shape in ([10**9, 10**9], [-1, 4], [2**63, 2], [], ["x"], None, [1.5]):
        lying = json.dumps(header | {name: header[name] | {"shape": shape}}).encode()
        file.write_bytes(struct.pack("<Q", len(lying)) + lying + content[8 + length :])
        with pytest.raises(ModelError, match="damaged safetensors file"):
            load(folder)
    for damage in (b"", content[:4], struct.pack("<Q", 2**62) + content[8:], content[: len(content) // 2]):
        file.write_bytes(damage)
        with pytest.raises(ModelError, match="damaged safetensors file"):
            load(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_a_folder_brings_along_never_runs(folder: Path, file: str) -> None:
    mark = folder / "mark"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n", encoding="utf-8")
    settings = json.loads((folder / file).read_text(encoding="utf-8"))
    every = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
    settings |= {
        "auto_map": dict.fromkeys(every, "evil.Evil"),
        "model_type": "evil",
        "tokenizer_class": "EvilTokenizer",
    }
    (folder / file).write_text(json.dumps(settings), encoding="utf-8")
    read_or_one_line(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "7", "{}", '{"model": {}}', '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
     '{"version": "1.0", "added_tokens": [{"id": 99999999999}], "model": {"type": "BPE", "vocab": {}, "merges": []}}',
     "[" * 100_000],
)  # fmt: skip
@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_that_is_none_is_one_line(folder: Path, file: str, text: str) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    read_or_one_line(folder)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62), b"GGUF" + struct.pack("<IQQ", 3, 1, 1)]
)
def test_a_gguf_file_that_lies_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(content + b"\xff" * 64 if len(content) > 4 else content)
    with pytest.raises(ModelError):
        load(file)


# ---- adapters ----


def adapters(folder: Path, base: Any, **settings: Any) -> Path:
    """Adapters of another tool, which name ``base``."""
    adapted = get_peft_model(tiny_model(367), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    adapted.save_pretrained(str(folder))
    file = folder / "adapter_config.json"
    said = json.loads(file.read_text(encoding="utf-8")) | {"base_model_name_or_path": base} | settings
    file.write_text(json.dumps(said), encoding="utf-8")
    return folder


def test_adapters_that_name_themselves_or_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    adapters(one, str(one))
    refused(one, "its adapters belong to themselves")
    adapters(one, str(other))
    adapters(other, str(one))
    refused(one, "its adapters belong to themselves")
    with pytest.raises(ModelError, match="belong to themselves"):
        config_folder(ModelConfig(model=str(one)))
    monkeypatch.chdir(one)
    adapters(one, ".")
    refused(one, "its adapters belong to themselves")
    (one / BASE_MODEL).write_text(json.dumps({"model": {"model": str(one)}, "identity": "x"}), encoding="utf-8")
    refused(one, "its adapters belong to themselves")


@pytest.mark.parametrize("base", [None, 7, "", [], {}, "./a\0b", "~nosuchuser/x"])
def test_adapters_that_name_no_model(tmp_path: Path, base: Any) -> None:
    refused(adapters(tmp_path / "a", base), "it does not say which model its adapters belong to")


def test_adapters_give_their_base_no_trust(folder: Path, tmp_path: Path) -> None:
    place = adapters(tmp_path / "a", str(folder))
    for name in ("trust_remote_code", "allow_pickle"):
        base = ModelConfig.model_validate({"model": str(folder), name: True})
        described = {"model": base.model_dump(mode="json"), "identity": model_identity(base)}
        (place / BASE_MODEL).write_text(json.dumps(described), encoding="utf-8")
        refused(place, f"needs {name}; set {name}: true if you trust it")
        assert load(place, **{name: True}).num_parameters() > 0


@pytest.mark.parametrize("settings", [{"r": 10**9}, {"rank_pattern": {"q_proj": 10**9}}, {"r": -1}, {"r": "x"}])
def test_adapters_of_another_rank_than_they_say(folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    place = adapters(tmp_path / "a", str(folder), **settings)
    with pytest.raises(ModelError):
        load(place)


def test_a_run_refuses_such_a_model_before_anything_is_made(folder: Path, tmp_path: Path) -> None:
    weights = split(folder, "w.bin")
    torch.save(weights, folder / "w.bin")
    (tmp_path / "e.yaml").write_text(
        "task: {kind: procedural, num_train: 20, num_test: 10}\nstudent: ./tiny\ntraining: null\n", encoding="utf-8"
    )
    outcome = run_command(tmp_path, "evaluate", "e.yaml")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1), outcome
    assert "no safetensors, 'w.bin'" in outcome.err
    assert not (tmp_path / "runs").exists()
