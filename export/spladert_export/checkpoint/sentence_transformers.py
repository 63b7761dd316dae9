"""What a folder of sentence-transformers' `SparseEncoder` says beside its weights: which modules, in which settings.

Everything in its files is either acted on or refused by name: a setting that is passed over gives other vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast

from spladert import ExportError

from ..graph.heads import LOG1PS, POOLINGS, Activation, Head, Pooling
from .files import CheckpointFiles
from .lengths import DEFAULT
from .query_weights import IDF, QueryTable

TRANSFORMERS = ("Transformer", "MLMTransformer")  # of today, and of releases before 5.4
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
LOGITS = {"method": "forward", "method_output_name": "logits"}  # the only way that texts may go through a model
# Settings of a Transformer that change no vector, and what it may load its model and config with.
INERT = frozenset({"module_output_name", "unpad_inputs"})
INERT_ARGUMENTS = frozenset(
    {"attn_implementation", "dtype", "low_cpu_mem_usage", "reference_compile", "torch_dtype", "use_cache"}
)
TOKENIZER_ARGUMENTS = frozenset({"model_max_length"})


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint's weights are used; the default is that of a checkpoint without sentence-transformers' files.

    Attributes:
        of_sentence_transformers: whether there is a modules.json.
        subfolder: where config.json, weights and tokenizer are.
        head: pooling and activation.
        prompts: what goes before a text, by its side: "query", "document", or "default" for neither.
        max_length: most tokens of a text, `max_seq_length`.
        query_max_length: of queries alone.
        document_max_length: of documents alone.
        top_k: most entries of a vector, `max_active_dims`.
        lower_case: texts are lower-cased before the tokenizer's own normalizer.
        query_table: where the weights are that queries are looked up in; None where the model encodes them.
    """

    of_sentence_transformers: bool = False
    subfolder: str = ""
    head: Head = field(default_factory=Head)
    prompts: Mapping[str, str] = field(default_factory=dict)
    max_length: int | None = None
    query_max_length: int | None = None
    document_max_length: int | None = None
    top_k: int | None = None
    lower_case: bool = False
    query_table: QueryTable | None = None

    def file(self, name: str) -> str:
        """The path of a file in the checkpoint."""
        return _inside(self.subfolder, name)


@dataclass(frozen=True)
class Module:
    """One module of a model: its class and the folder of its files."""

    name: str
    folder: str

    def file(self, name: str) -> str:
        """The path of a file in the checkpoint."""
        return _inside(self.folder, name)


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


@dataclass(frozen=True)
class Settings:
    """The settings in one file."""

    source: str
    file: str
    values: Mapping[str, Any]

    def integer(self, name: str) -> int | None:
        """A positive integer, or None where the setting is absent or null."""
        value = self.values.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise self.error(name)
        return value

    def choice(self, name: str, known: Collection[str], default: str) -> str:
        value = self.values.get(name, default)
        if value not in known:
            raise self.error(name, f"supported are {' and '.join(known)}")
        return str(value)

    def refuse_others(self, known: Collection[str]) -> None:
        """Raise for the first setting that is not in `known` and says something."""
        for name, value in self.values.items():
            if name not in known and value not in (None, {}, [], "", False):
                raise self.error(name)

    def error(self, name: str, hint: str = "it is not supported") -> ExportError:
        return ExportError(f"{self.source}: {self.file} has {name} {self.values.get(name)!r}; {hint}")


def read_recipe(files: CheckpointFiles) -> Recipe:
    """The recipe of a checkpoint.

    Raises:
        ExportError: a module or a setting is not supported; the message names it.
    """
    entries = files.json("modules.json")
    if entries is None:
        return Recipe(query_table=None if files.path(IDF) is None else QueryTable(IDF))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ExportError(f"{files.source}: modules.json is no list of modules; save the model again")
    modules = [_module(files, str(entry.get("type")), str(entry.get("path", ""))) for entry in entries]
    table = None
    if [module.name for module in modules] in (["Router"], ["Asym"]):
        modules, table = _routes(files, modules[0])
    if len(modules) != 2 or modules[0].name not in TRANSFORMERS or modules[1].name != "SpladePooling":
        raise ExportError(
            f"{files.source} is a sentence-transformers model of {_chain(modules)}; what can be exported is a "
            "Transformer for masked language modeling, then a SpladePooling"
        )
    transformer, pooling = modules
    settings = _transformer_settings(files, transformer)
    arguments = settings.values.get("processor_kwargs") or settings.values.get("tokenizer_args") or {}
    longest = settings.integer("max_seq_length") or arguments.get("model_max_length")
    name = "config_sentence_transformers.json"
    model = Settings(files.source, name, files.settings(name))
    return Recipe(
        of_sentence_transformers=True,
        subfolder=transformer.folder,
        head=_head(files, pooling),
        prompts=_prompts(model),
        max_length=longest,
        query_max_length=settings.integer("query_length") or _looked_up_length(files, table, longest or DEFAULT),
        document_max_length=settings.integer("document_length"),
        top_k=model.integer("max_active_dims"),
        lower_case=bool(settings.values.get("do_lower_case")),
        query_table=table,
    )


def _looked_up_length(files: CheckpointFiles, table: QueryTable | None, longest: int) -> int | None:
    """What the tokenizer of looked-up queries cuts them to, where that is less than the `longest` text."""
    if table is None or table.tokenizer is None:
        return None
    own = files.settings(f"{table.tokenizer}/tokenizer_config.json").get("model_max_length")
    return own if isinstance(own, int) and own < longest else None


def _module(files: CheckpointFiles, kind: str, folder: str) -> Module:
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts:
        raise ExportError(f"{files.source} has a module at {folder!r}, which is outside of the checkpoint")
    return Module(kind.rpartition(".")[2], "" if str(path) == "." else str(path))


def _chain(modules: list[Module]) -> str:
    return ", then ".join(module.name for module in modules) or "no modules"


def _routes(files: CheckpointFiles, router: Module) -> tuple[list[Module], QueryTable | None]:
    """The modules that a Router sends documents to, and the table that queries are looked up in, if they are.

    Raises:
        ExportError: queries have a model of their own, or it routes by something else.
    """
    name = router.file("router_config.json")
    config = files.settings(name) or files.settings(router.file("config.json"))
    settings = Settings(files.source, name, config.get("parameters", {}))
    settings.refuse_others({"allow_empty_key", "default_route"})
    types, structure = config.get("types", {}), config.get("structure", {})
    if set(structure) != {"query", "document"}:
        raise ExportError(
            f"{files.source}: {name} has the routes {', '.join(structure) or 'none'}; supported are query and document"
        )
    query, document = (
        [_module(files, str(types.get(key)), router.file(key)) for key in structure[side]]
        for side in ("query", "document")
    )
    if [module.name for module in query] == ["SparseStaticEmbedding"]:
        settings.choice("default_route", ["document"], "document")
        return document, _query_table(files, query[0])
    if [_substance(files, module) for module in query] != [_substance(files, module) for module in document]:
        raise ExportError(
            f"{files.source} encodes queries by {_chain(query)}, and documents by another {_chain(document)}: two "
            "encoders in one checkpoint are not supported"
        )
    return document, None


def _query_table(files: CheckpointFiles, static: Module) -> QueryTable:
    name = static.file("config.json")
    settings = Settings(files.source, name, files.settings(name))
    settings.refuse_others({"frozen", "path"})
    path = settings.values.get("path")
    if path is None:
        return QueryTable(static.file("model.safetensors"), static.folder)
    if files.path(str(path)) is None or not str(path).endswith(".json"):
        raise settings.error("path", "give a JSON file of the checkpoint")
    return QueryTable(str(path), static.folder)


def _substance(files: CheckpointFiles, module: Module) -> Any:
    """What makes a module the same as another: the pooling has settings alone, all else lies in its folder."""
    return _head(files, module) if module.name == "SpladePooling" else module


def _head(files: CheckpointFiles, pooling: Module) -> Head:
    name = pooling.file("config.json")
    settings = Settings(files.source, name, files.settings(name))
    settings.refuse_others(
        {"pooling_strategy", "activation_function", "embedding_dimension", "word_embedding_dimension", "chunk_size"}
    )
    return Head(
        cast("Pooling", settings.choice("pooling_strategy", POOLINGS, "max")),
        cast("Activation", settings.choice("activation_function", LOG1PS, "relu")),
    )


def _transformer_settings(files: CheckpointFiles, module: Module) -> Settings:
    names = [module.file(name) for name in TRANSFORMER_FILES]
    name = next((name for name in names if files.path(name) is not None), names[0])
    settings = Settings(files.source, name, files.settings(name))
    lengths = {"max_seq_length", "query_length", "document_length"}
    acted_on = {"transformer_task", "modality_config", "do_lower_case", *lengths}
    loading = {
        **dict.fromkeys(("model_args", "model_kwargs", "config_args", "config_kwargs"), INERT_ARGUMENTS),
        **dict.fromkeys(("tokenizer_args", "processor_kwargs"), TOKENIZER_ARGUMENTS),
    }
    settings.refuse_others({*acted_on, *INERT, *loading})
    task = "fill-mask" if module.name == "MLMTransformer" else "feature-extraction"
    settings.choice("transformer_task", ["fill-mask"], task)
    modalities = settings.values.get("modality_config", {"text": LOGITS})
    if "message" in modalities or modalities.get("text") != LOGITS:  # texts become messages where there are any
        raise settings.error("modality_config")
    for part, known in loading.items():
        Settings(files.source, f"{part} in {name}", settings.values.get(part) or {}).refuse_others(known)
    return settings


def _prompts(model: Settings) -> dict[str, str]:
    """What goes before a text, by its side, as `encode_query`, `encode_document` and `encode` resolve it.

    Empty where no side has one. `default_prompt_name` is for `encode` alone: the other two sides fall back to no prompt
    (sentence-transformers 6).
    """
    named = model.values.get("prompts") or {}
    if not isinstance(named, dict) or not all(isinstance(text, str | None) for text in named.values()):
        raise model.error("prompts", "give an object of texts")
    default = model.values.get("default_prompt_name")
    if default is not None and default not in (*named, "query", "document"):
        raise model.error("default_prompt_name", f"the prompts are {', '.join(named) or 'none'}")
    prompts = {"query": named.get("query"), "document": named.get("document"), "default": named.get(default)}
    return {side: text or "" for side, text in prompts.items()} if any(prompts.values()) else {}
