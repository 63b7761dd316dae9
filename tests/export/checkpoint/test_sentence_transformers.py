"""Folders of sentence-transformers' `SparseEncoder`: its own vectors, or a refusal that names what is not supported."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import ExportError, SparseEncoder, SparseVector
from support.card import dense
from support.checkpoints import LINES, make_checkpoint

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export import export
from spladert_export.checkpoint import load_checkpoint
from spladert_export.graph.heads import Head

TEXTS = [*LINES, "", "a", "  spaces around  ", "The QUICK Brown Fox", LINES[0] * 12]
CLASSES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "MLMTransformer": "sentence_transformers.sparse_encoder.models.MLMTransformer",
    "SpladePooling": "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("bert", tmp_path_factory.mktemp("plain") / "bert", num_hidden_layers=1)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_modules(folder: Path, *modules: tuple[str, str]) -> None:
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": CLASSES.get(kind, f"somewhere.{kind}")}
        for number, (kind, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    """A folder as sentence-transformers 5.0 wrote it, by hand: no such package is needed to read it."""
    folder = Path(shutil.copytree(plain, tmp_path / "folder"))
    write_modules(folder, ("MLMTransformer", ""), ("SpladePooling", "1_SpladePooling"))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 100, "do_lower_case": False})
    write_json(folder / "1_SpladePooling/config.json", {"pooling_strategy": "max", "activation_function": "relu"})
    write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": {}})
    return folder


def change(file: Path, **settings: Any) -> None:
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    write_json(file, known | settings)


def assert_same(ours: Any, theirs: Any) -> None:
    """Our vectors against rows of sentence-transformers'."""
    vectors = [ours] if isinstance(ours, SparseVector) else list(ours)
    rows = theirs.to_dense().numpy().reshape(len(vectors), -1)
    for vector, row in zip(vectors, rows, strict=True):
        np.testing.assert_allclose(dense(vector, len(row)), row, atol=1e-5 * max(row.max(), 1))
    assert (rows > 0).any()


@pytest.mark.parametrize(
    ("pooling", "activation"), [("sum", "relu"), ("sum", "log1p_relu"), ("max", "log1p_relu"), ("max", "relu")]
)
def test_pooling_and_activation(pooling: Any, activation: Any, plain: Path, tmp_path: Path) -> None:
    """All of them alone and in a padded batch, with the length that the folder asks for."""
    st = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, of the dev extra")
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    transformer = Transformer(str(plain), transformer_task="fill-mask", max_seq_length=30)
    theirs = st.SparseEncoder(modules=[transformer, SpladePooling(pooling, activation)], device="cpu")
    theirs.save_pretrained(str(tmp_path / "saved"))
    bundle = export(tmp_path / "saved", tmp_path / "bundle", top_k=10_000)
    with SparseEncoder.load(bundle) as ours:
        assert ours.manifest.max_length == 30
        assert_same(ours.encode(TEXTS, batch_size=len(TEXTS)), theirs.encode(TEXTS))
        assert_same(ours.encode(LINES[0]), theirs.encode(LINES[:1]))


def test_lower_case_prompts_lengths_and_weights_in_a_subfolder(plain: Path, tmp_path: Path) -> None:
    st = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, of the dev extra")
    folder = tmp_path / "folder"
    shutil.copytree(plain, folder / "0_MLMTransformer")
    write_modules(folder, ("MLMTransformer", "0_MLMTransformer"), ("SpladePooling", "1_SpladePooling"))
    settings = {"max_seq_length": 40, "query_length": 9, "do_lower_case": True}
    write_json(folder / "0_MLMTransformer/sentence_bert_config.json", settings)
    write_json(folder / "1_SpladePooling/config.json", {"pooling_strategy": "sum", "word_embedding_dimension": 324})
    prompts = {"query": "질문: ", "document": "글: ", "other": "The "}
    settings = {"model_type": "SparseEncoder", "prompts": prompts, "default_prompt_name": "other"}
    write_json(folder / "config_sentence_transformers.json", settings)
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.prompts == {"query": "질문: ", "document": "글: ", "default": "The "}
    theirs = st.SparseEncoder(str(folder), device="cpu")
    with SparseEncoder.load(export(folder, tmp_path / "bundle", top_k=10_000)) as ours:
        assert_same(ours.encode_query(TEXTS), theirs.encode_query(TEXTS))
        assert_same(ours.encode_document(TEXTS), theirs.encode_document(TEXTS))
        assert_same(ours.encode(TEXTS), theirs.encode(TEXTS))


@pytest.mark.parametrize(
    ("prompts", "default"),
    [
        ({}, None),
        ({"query": "q: "}, None),
        ({"document": "d: "}, "query"),
        ({"query": "q: ", "passage": "p: "}, "passage"),
        ({"query": "q: ", "document": "d: "}, "document"),
    ],
)
def test_which_prompt_goes_before_a_text(prompts: Any, default: Any, folder: Path) -> None:
    st = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, of the dev extra")
    change(folder / "config_sentence_transformers.json", prompts=prompts, default_prompt_name=default)
    found = load_checkpoint(str(folder)).prompts
    theirs = st.SparseEncoder(str(folder), device="cpu")
    for side, encode in (
        ("query", theirs.encode_query),
        ("document", theirs.encode_document),
        ("default", theirs.encode),
    ):
        expected = theirs.encode(found.get(side, "") + LINES[0], prompt="")
        assert (encode(LINES[0]).to_dense() == expected.to_dense()).all(), side


def test_a_router_that_sends_both_sides_the_same_way(plain: Path, tmp_path: Path) -> None:
    st = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, of the dev extra")
    from sentence_transformers.sparse_encoder.modules import Router, SpladePooling, Transformer

    shared = Transformer(str(plain), transformer_task="fill-mask")
    routes = [[shared, SpladePooling("sum", "log1p_relu")], [shared, SpladePooling("sum", "log1p_relu")]]
    theirs = st.SparseEncoder(modules=[Router.for_query_document(*routes)], device="cpu")
    theirs.save_pretrained(str(tmp_path / "saved"))
    checkpoint = load_checkpoint(str(tmp_path / "saved"))
    assert checkpoint.head == Head("sum", "log1p_relu")
    with SparseEncoder.load(export(tmp_path / "saved", tmp_path / "bundle", top_k=10_000)) as ours:
        assert_same(ours.encode(TEXTS), theirs.encode_query(TEXTS))


def test_sum_pooling_is_refused_where_winners_are_chosen_by_their_max(folder: Path, tmp_path: Path) -> None:
    change(folder / "1_SpladePooling/config.json", pooling_strategy="sum")
    with pytest.raises(ExportError, match="pooling is sum, and cpu-int8 is made for max; take cpu-fp32"):
        export(folder, tmp_path / "bundle", variants=["cpu-int8"])
    with pytest.raises(ExportError, match="pooling is sum"):
        export(folder, tmp_path / "bundle", variants=["cpu-fp32", "cpu-int8"], strict=True)
    assert not (tmp_path / "bundle").exists()
    report = export(folder, tmp_path / "bundle", variants=["cpu-fp32", "cpu-int8"])
    assert [variant.name for variant in report.variants] == ["cpu-fp32"]
    assert "take cpu-fp32" in report.refused["cpu-int8"]


def test_a_quantized_variant_has_the_checkpoints_activation(folder: Path, calibration: Path, tmp_path: Path) -> None:
    change(folder / "1_SpladePooling/config.json", activation_function="log1p_relu")
    change(folder / "config_sentence_transformers.json", max_active_dims=40)
    variants = ["cpu-int8", "cuda-fp16"]
    bundle = export(folder, tmp_path / "bundle", variants=variants, calibration=calibration, allow_loss=True)
    assert [variant.name for variant in bundle.variants] == variants
    for variant in bundle.variants:
        assert variant.fidelity["max_weight_error"] < 0.05  # without the second log1p it would be over 0.1
        assert variant.settings["calibrated_on"] == calibration.name
    assert (bundle.calibration, bundle.warnings) == (str(calibration), ())
    with SparseEncoder.load(bundle) as encoder:
        assert encoder.manifest.top_k == 40


def test_what_the_folder_says_of_lengths(folder: Path) -> None:
    def lengths(**asked: int) -> tuple[int, int | None, int | None]:
        found = load_checkpoint(str(folder), **asked).lengths
        return found.max_length, found.query, found.document

    assert lengths() == (100, None, None)
    assert lengths(max_length=20) == (20, None, None)
    assert lengths(query_max_length=20) == (100, 20, None)
    assert lengths(query_max_length=20, document_max_length=60) == (60, 20, None)
    change(folder / "sentence_bert_config.json", query_length=16, document_length=120)
    assert lengths() == (120, 16, None)
    assert lengths(max_length=50) == (50, 16, None)
    change(folder / "sentence_bert_config.json", max_seq_length=None, query_length=None, document_length=None)
    change(folder / "tokenizer_config.json", model_max_length=77)
    assert lengths() == (77, None, None)
    change(folder / "tokenizer_config.json", model_max_length=10_000)
    assert lengths() == (140, None, None)  # all positions
    (folder / "modules.json").unlink()
    assert lengths() == (64, None, None)


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("1_SpladePooling/config.json", {"pooling_strategy": "mean"}, "has pooling_strategy 'mean'; supported are max"),
        ("1_SpladePooling/config.json", {"activation_function": "gelu"}, "has activation_function 'gelu'; supported"),
        (
            "1_SpladePooling/config.json",
            {"temperature": 2},
            r"1_SpladePooling/config\.json has temperature 2; it is not",
        ),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "has max_seq_length -1; it is not supported"),
        (
            "sentence_bert_config.json",
            {"transformer_task": "text-generation"},
            "has transformer_task 'text-generation'",
        ),
        ("sentence_bert_config.json", {"query_expansion": {"length": 9}}, r"has query_expansion \{'length': 9\}"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {}}}, r"has processing_kwargs"),
        (
            "sentence_bert_config.json",
            {"modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}},
            "has modality_config",
        ),
        (
            "sentence_bert_config.json",
            {"config_args": {"num_hidden_layers": 1}},
            "config_args in .* num_hidden_layers 1",
        ),
        ("config_sentence_transformers.json", {"prompts": ["a"]}, r"has prompts \['a'\]; give an object of texts"),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "has default_prompt_name 'x'"),
        ("config_sentence_transformers.json", {"max_active_dims": "9"}, "has max_active_dims '9'"),
        ("adapter_config.json", {"peft_type": "LORA"}, "has an adapter .* merge it"),
    ],
)
def test_a_setting_that_is_not_supported(file: str, settings: Any, message: str, folder: Path) -> None:
    change(folder / file, **settings)
    with pytest.raises(ExportError, match=message):
        load_checkpoint(str(folder))


def test_settings_that_change_no_vector(folder: Path) -> None:
    change(
        folder / "sentence_bert_config.json",
        model_args={"attn_implementation": "eager", "torch_dtype": "float32"},
        tokenizer_args={"model_max_length": 90},
        unpad_inputs=False,
    )
    change(folder / "1_SpladePooling/config.json", chunk_size=7, embedding_dimension=324)
    assert load_checkpoint(str(folder)).lengths.max_length == 100


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [("Transformer", ""), ("Pooling", "1_Pooling")],
            "is a sentence-transformers model of Transformer, then Pooling",
        ),
        (
            [("MLMTransformer", ""), ("SpladePooling", "1_SpladePooling"), ("Normalize", "2")],
            "then Normalize; what can",
        ),
        ([("MLMTransformer", "../other"), ("SpladePooling", "1_SpladePooling")], "which is outside of the checkpoint"),
        ([], "of no modules; what can be exported"),
        (
            [("Transformer", ""), ("SpladePooling", "1_SpladePooling")],
            "has transformer_task None; supported are fill-mask",
        ),
    ],
)
def test_modules_that_are_not_supported(modules: Any, message: str, folder: Path) -> None:
    write_modules(folder, *modules)
    with pytest.raises(ExportError, match=message):
        load_checkpoint(str(folder))


def route(folder: Path, query: list[str], document: list[str], **parameters: Any) -> None:
    """Make the folder's model a Router over it; a module without a name is the transformer in the folder itself."""
    write_modules(folder, ("Router", ""))
    kinds = {key: key.split("_")[-1] or "MLMTransformer" for key in (*query, *document)}
    types = {key: CLASSES.get(kind, f"somewhere.{kind}") for key, kind in kinds.items()}
    structure = {"query": query, "document": document}
    write_json(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})


def test_routers_that_are_not_supported(folder: Path) -> None:
    both = ["0_MLMTransformer", "1_SpladePooling"]
    route(folder, ["other_MLMTransformer", "1_SpladePooling"], both)
    with pytest.raises(
        ExportError, match="encodes queries by MLMTransformer, then SpladePooling, and documents by ano"
    ):
        load_checkpoint(str(folder))
    route(folder, both, both, route_mappings={"('query', None)": "document"})
    with pytest.raises(ExportError, match=r"router_config\.json has route_mappings .* not supported"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(("form", "longest"), [("tensor", 100), ("tensor", 10), ("json", 100)])
def test_queries_that_are_looked_up(form: str, longest: int, plain: Path, tmp_path: Path) -> None:
    """The table of sentence-transformers' SparseStaticEmbedding: no graph runs for a query."""
    torch = pytest.importorskip("torch")
    st = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, of the dev extra")
    from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer

    transformer = Transformer(str(plain), transformer_task="fill-mask", max_seq_length=100)
    tokenizer, folder = transformer.tokenizer, tmp_path / "saved"
    weights = torch.rand(len(tokenizer), generator=torch.Generator().manual_seed(0)) * 5
    weights[torch.arange(len(tokenizer)) % 7 == 0] = 0
    of_queries = copy.deepcopy(tokenizer)
    of_queries.model_max_length = longest
    routes = [SparseStaticEmbedding(of_queries, weights)], [transformer, SpladePooling("max", "log1p_relu")]
    saved = st.SparseEncoder(modules=[Router.for_query_document(*routes)], prompts={"query": "q: ", "document": ""})
    saved.save_pretrained(str(folder))
    if form == "json":
        static = folder / "query_0_SparseStaticEmbedding"
        (static / "model.safetensors").unlink()
        by_token = {token: float(weights[number]) for token, number in tokenizer.get_vocab().items()}
        write_json(folder / "idf.json", by_token)
        change(static / "config.json", path="idf.json")
        known = load_checkpoint(str(folder)).query_weights
        np.testing.assert_allclose(known[: len(weights)], weights.numpy(), rtol=1e-6)
        return
    tokens = [token for token in tokenizer.get_vocab() if token.isalpha()]
    with SparseEncoder.load(export(folder, tmp_path / "bundle", top_k=10_000)) as ours:
        assert {"prompts", "query-table"} <= set(ours.manifest.requires)
        assert ours.manifest.query_max_length == (None if longest == 100 else longest)
        assert_same(ours.encode_document(TEXTS), saved.encode_document(TEXTS))
        special = ["[CLS] 계약서 [SEP]", "[MASK]", "[UNK] 😀", "a[SEP]b"]  # weighed where a text spells them out
        words = [" ".join(tokens[: longest - 1 + extra]) for extra in range(4)]  # about the length at which both cut
        queries = [*TEXTS, *special, *words]
        theirs = saved.encode_query(queries).to_dense().numpy()
        for vector, row in zip(ours.encode_query(queries), theirs, strict=True):
            np.testing.assert_allclose(dense(vector, len(row)), row, rtol=1e-6)
        spelled = theirs[len(TEXTS)]
        assert spelled[tokenizer.cls_token_id] > 0
        assert spelled[tokenizer.sep_token_id] > 0
        assert theirs[TEXTS.index(""), tokenizer.cls_token_id] == 0  # but none are put around one


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"[CLS]": 1.0, "no such token": 2.0},
            "weighs 1 tokens that the tokenizer does not have, 'no such token' for one",
        ),
        ({"[CLS]": "heavy"}, r"idf\.json is missing, or no object of a weight a token"),
        ({"a": -1.0}, "has weights that are negative or not finite"),
    ],
)
def test_tables_of_query_weights_that_are_refused(weights: Any, message: str, folder: Path) -> None:
    """An idf.json beside the weights is one, as OpenSearch's models have it, where there is no modules.json."""
    (folder / "modules.json").unlink()
    write_json(folder / "idf.json", {"[CLS]": 3.0, "a": 0.5})
    known = load_checkpoint(str(folder))
    assert known.query_weights is not None
    assert known.query_weights.sum() == 3.5
    write_json(folder / "idf.json", weights)
    with pytest.raises(ExportError, match=message):
        load_checkpoint(str(folder))


def test_queries_cut_by_another_tokenizer_are_refused(folder: Path) -> None:
    route(folder, ["query_SparseStaticEmbedding"], ["", "1_SpladePooling"])
    static = folder / "query_SparseStaticEmbedding"
    write_json(static / "config.json", {"frozen": True, "path": "idf.json"})
    write_json(folder / "idf.json", {"a": 0.5})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, static / name)
    assert load_checkpoint(str(folder)).query_weights is not None
    change(static / "tokenizer.json", normalizer={"type": "Lowercase"})
    with pytest.raises(ExportError, match="cuts queries into tokens by another tokenizer"):
        load_checkpoint(str(folder))
    change(static / "config.json", path="owner/other")
    with pytest.raises(ExportError, match="has path 'owner/other'; give a JSON file of the checkpoint"):
        load_checkpoint(str(folder))
    route(folder, ["query_SparseStaticEmbedding"], ["", "1_SpladePooling"], default_route="query")
    with pytest.raises(ExportError, match="has default_route 'query'; supported are document"):
        load_checkpoint(str(folder))


def test_damaged_files(folder: Path) -> None:
    (folder / "1_SpladePooling/config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ExportError, match=r"1_SpladePooling/config\.json is not valid JSON"):
        load_checkpoint(str(folder))
    (folder / "modules.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(ExportError, match=r"modules\.json is no list of modules"):
        load_checkpoint(str(folder))
