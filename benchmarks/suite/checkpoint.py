"""The checkpoint as transformers 4 and 5 both load it."""

from __future__ import annotations

import json
from pathlib import Path

# The class that transformers 5 writes, and transformers 4 does not know, for what is read from tokenizer.json alone.
NEW, OLD = "TokenizersBackend", "PreTrainedTokenizerFast"


def portable(checkpoint: Path, folder: Path) -> Path:
    """A folder of links to the checkpoint's files, whose tokenizer class is one that every transformers has.

    Raises:
        SystemExit: the checkpoint has no config.json.
    """
    if not (checkpoint / "config.json").is_file():
        raise SystemExit(f"{checkpoint} is not a checkpoint: it has no config.json")
    folder.mkdir(parents=True, exist_ok=True)
    for source in checkpoint.resolve().iterdir():
        target = folder / source.name
        target.unlink(missing_ok=True)
        if source.name == "tokenizer_config.json":
            settings = json.loads(source.read_text(encoding="utf-8"))
            if settings.get("tokenizer_class") == NEW:
                settings["tokenizer_class"] = OLD
            target.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        else:
            target.symlink_to(source)
    return folder
