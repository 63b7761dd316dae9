"""Everyday nouns that the training texts hardly have: words of another vocabulary that look like nouns to e5.

Nouns take particles that verbs and adverbs do not, but a word must be seen often to be seen with several. So a line is
drawn through the dense teacher's vectors, between words of the texts that take many particles and common ones that take
none, and the words of the other vocabulary are told apart by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from training.config import Nouns
from training.meaning import Embed, noun_particles
from training.tokenizer import is_korean_word


def read_words(file: Path) -> list[str]:
    """Korean words of two letters and more that a tokenizer.json has as pieces, in its order.

    Raises:
        SystemExit: there is no such file.
    """
    if not file.is_file():
        raise SystemExit(f"no tokenizer {file}: it names the words that the texts lack")
    vocab = Tokenizer.from_file(str(file)).get_vocab()
    return [piece for piece in sorted(vocab, key=vocab.__getitem__) if is_korean_word(piece)]


def nouns_among(names: Sequence[str], words: Counter[str], embed: Embed, settings: Nouns) -> list[str]:
    """Those of `names` that are nouns, by what is seen of the texts' `words`."""
    examples = sorted((word for word in words if is_korean_word(word)), key=lambda word: (-words[word], word))
    with_particles = {word: noun_particles(word, words) for word in examples}
    nouns = [word for word in examples if with_particles[word] >= settings.particles]
    others = [word for word in examples if not with_particles[word] and words[word] >= settings.often]
    others = others[: settings.others]
    vectors = embed(nouns + others)
    mean = vectors.mean(0)
    sides = np.where(np.arange(len(vectors)) < len(nouns), 1.0, -1.0)
    centred = vectors - mean
    line = np.linalg.solve(centred.T @ centred + settings.ridge * np.eye(centred.shape[1]), centred.T @ sides)
    kept = (embed(names) - mean) @ line + sides.mean() > settings.least
    return [name for name, noun in zip(names, kept, strict=True) if noun]
