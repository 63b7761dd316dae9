"""A WordPiece vocabulary whose words are stems: Korean particles and endings become `##` pieces of their own.

Korean writes particles onto the noun (도시가, 도시를, 도시에서). Plain WordPiece training spends its vocabulary on
those fused forms, and then 도시가 in a question shares no token with 도시를 in a passage. Here endings are cut off
first, where the corpus shows the remaining stem with other endings too; stems and endings are learned apart.
WordPiece's longest-match-first reading then takes a fused word apart again: 도시를 -> 도시 ##를.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from spladert_export.normalize import clean_up

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)

_PARTICLES = """은 는 이 가 을 를 의 에 에서 에게 에게서 께 께서 한테 으로 로 으로서 로서 으로써 로써 와 과 도 만 까지 부터 마다 보다 처럼 같이 이나 나
이라 라 이라고 라고 이라는 라는 이란 란 이며 며 이고 이다 다 인 였다 이었다 였던 이었던 입니다 이에요 예요 인가 인가요 일까 일까요 이냐 냐 이야 야 이랑 랑 하고
에는 에도 에만 에의 에서는 에서도 에서의 에게는 으로는 로는 으로도 로도 으로의 로의 과의 와의 과는 와는 까지의 부터의 까지는 만을 만의 만이 들 들이 들은
들을 들의 들에게 들과 들도 들에 들로 이라도 라도 이든 든 조차 마저 밖에 이지만 지만 이므로 므로 이면 면 이자 자 여 이여 인데 인지 이었으며 였으며 이었고 였고"""
_VERBAL = """하다 하는 한 할 함 하고 하며 하여 해 해서 하지 하면 하게 하기 하던 했다 했던 했고 했으며 했지만 했습니다 합니다 하십시오 하세요 해요 했어요 해야 하도록 하였다
하였고 하였으며 하였습니다 하였던 하려고 하려는 하려 하기도 하기로 하기를 하기에 하면서 하거나 하는데 하지만 하므로 한다 한다고 한다는 할지 하자 하자고 해도
되다 되는 된 될 됨 되고 되며 되어 돼 되지 되면 되게 되기 되던 됐다 됐던 되었다 되었고 되었으며 되었습니다 됩니다 되나요 되었나요 하나요 했나요 되었는가 되는가 하는가 했는가
되었던 된다 된다고 되도록 되면서 되어야 되기도 되었을 하였을 했을 시키는 시킨 시켜 시키고 시켰다 시킬 당한 당했다 당하는 적 적인 적으로 적이고 적이다 적이며 성 화
스러운 스럽게 스럽다 로운 롭게 없는 없이 없다 있는 있다 있게 받은 받는 받고 받아 받았다"""
_ENDINGS = """다 는 은 을 를 고 며 면 서 어 아 어서 아서 어요 아요 었다 았다 였다 었던 았던 었고 았고 었으며 았으며 었습니다 았습니다 습니다 니다 는다 ㄴ다 지 지만 지는 지도 기 기를
기에 게 던 도록 려고 으려고 으며 으면 으면서 면서 으로 거나 는데 은데 나요 는가 는가요 던가 을까 을까요 네요 네 군요 죠 지요 세요 으세요 시오 십시오 자 라 어라 아라 냐 니"""
ENDINGS = frozenset((_PARTICLES + " " + _VERBAL + " " + _ENDINGS).split())
SURE_ENDINGS = frozenset(
    """은 는 을 를 의 에 에서 에게 에게서 으로 으로서 로서 로써 와 과 까지 부터 입니다 이다 이라는 라는 이었다 였다 이며 에는 에서는 에서의 에게는 으로는 들은 들을 들의
    들이 하는 했다 하고 하여 합니다 되는 된다 되었다 됩니다 하였다 적인 적으로 인가 인가요""".split()
)
LONGEST_ENDING = max(map(len, ENDINGS))


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.BertPreTokenizer()


def is_hangul(word: str) -> bool:
    return all("가" <= letter <= "힣" for letter in word)


def is_korean_word(word: str) -> bool:
    """Whether it is of two Korean letters and more, and no ending."""
    return len(word) >= 2 and word not in ENDINGS and is_hangul(word)


def count_words(texts: list[str]) -> Counter[str]:
    normalize, split = normalizers.NFC(), _pre_tokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in split.pre_tokenize_str(normalize.normalize_str(text)))
    return words


def split_endings(words: Counter[str], distinct_endings: int = 3, single: int = 12) -> dict[str, tuple[str, str]]:
    """(stem, ending) of every word; the ending is empty where no split is supported by the corpus.

    A split is supported by a sure ending, or where the stem is seen with `distinct_endings` endings (none counts as
    one). Among the supported splits of a word the stem that takes the most endings wins, unless the whole word takes
    more itself. A stem of one syllable needs a sure ending and `single` endings.
    """
    seen_with: dict[str, set[str]] = {}
    for word in words:
        if is_hangul(word):
            for cut in range(max(1, len(word) - LONGEST_ENDING), len(word) + 1):
                if cut == len(word) or word[cut:] in ENDINGS:
                    seen_with.setdefault(word[:cut], set()).add(word[cut:])
    splits: dict[str, tuple[str, str]] = {}
    for word in words:
        splits[word] = (word, "")
        if not is_hangul(word):
            continue
        most = len(seen_with[word]) if word in seen_with else 0
        for cut in range(max(1, len(word) - LONGEST_ENDING), len(word)):
            stem, ending = word[:cut], word[cut:]
            if ending not in ENDINGS:
                continue
            variety = len(seen_with[stem])
            sure = ending in SURE_ENDINGS
            supported = (sure and variety >= single) if cut == 1 else (sure or variety >= distinct_endings)
            if supported and (variety > most or (sure and variety == most and cut > 1)):
                splits[word], most = (stem, ending), variety
    return splits


def new_tokenizer(vocab: dict[str, int] | None = None) -> Tokenizer:
    model = models.WordPiece(vocab=vocab, unk_token="[UNK]") if vocab else models.WordPiece(unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


def _stems(words: Counter[str], splits: dict[str, tuple[str, str]]) -> Counter[str]:
    stems: Counter[str] = Counter()
    for word, count in words.items():
        stems[splits[word][0]] += min(count, 2_000)
    return stems


def _alphabet(stems: Counter[str], limit: int) -> list[str]:
    """The most common letters, in an order that equal counts do not change."""
    letters: Counter[str] = Counter()
    for stem, count in stems.items():
        for letter in stem:
            letters[letter] += count
    return sorted(letters, key=lambda letter: (-letters[letter], letter))[:limit]


def train(
    texts: list[str], vocab_size: int, alphabet: int = 2_500, surplus: float = 1.25, also: Sequence[str] = ()
) -> Tokenizer:
    """Learn candidates from stems and endings, read the corpus with them, keep the `vocab_size` most used.

    Words named in `also` are kept however seldom they are used, where their letters are in the alphabet.
    """
    words = count_words(texts)
    splits = split_endings(words)
    stems = _stems(words, splits)
    letters = _alphabet(stems, alphabet)
    known = set(letters)
    learner = new_tokenizer()
    learner.train_from_iterator(
        (stem for stem, count in stems.items() if known.issuperset(stem) for _ in range(count)),
        trainers.WordPieceTrainer(
            vocab_size=int(vocab_size * surplus),
            # The trainer breaks ties by number, and numbers inner letters as it meets them, in an order that no seed
            # fixes; the letters named here have their numbers already.
            special_tokens=[*SPECIAL, *letters, *(f"##{letter}" for letter in letters)],
            min_frequency=2,
            show_progress=False,
        ),
    )
    candidates = set(learner.get_vocab()) | {"##" + ending for _, ending in splits.values() if ending}
    usage = _usage(words, sorted(candidates - set(SPECIAL)))
    needed = {piece for piece in candidates if _is_needed_letter(piece, usage[piece])}
    needed |= {word for word in also if known.issuperset(word)}
    candidates = {piece for piece in candidates if len(piece.removeprefix("##")) > 1} | needed
    for _ in range(3):
        usage = _usage(words, sorted(candidates - set(SPECIAL)))
        ranked = sorted(candidates - needed - set(SPECIAL), key=lambda piece: (-usage[piece], piece))
        candidates = needed | set(ranked[: vocab_size - len(SPECIAL) - len(needed)])
    usage = _usage(words, sorted(candidates - set(SPECIAL)))
    kept = SPECIAL + sorted(candidates - set(SPECIAL), key=lambda piece: (-usage[piece], piece))
    return new_tokenizer({piece: number for number, piece in enumerate(kept)})


def _is_needed_letter(piece: str, used: int) -> bool:
    """Letters keep rare words readable; rare letters of other scripts are left to [UNK]."""
    letter = piece.removeprefix("##")
    return len(letter) == 1 and (letter.isascii() or is_hangul(letter) or used >= 4)


def _usage(words: Counter[str], candidates: list[str]) -> Counter[str]:
    reader = new_tokenizer({piece: number for number, piece in enumerate(SPECIAL + candidates)})
    usage: Counter[str] = Counter()
    ordered = list(words)
    for word, coding in zip(ordered, reader.encode_batch(ordered, add_special_tokens=False), strict=True):
        for piece in coding.tokens:
            usage[piece] += words[word]
    return usage


def save(tokenizer: Tokenizer, folder: Path, max_length: int) -> None:
    """Write tokenizer.json and the tokenizer_config.json with which AutoTokenizer loads it unchanged.

    The clean-up of texts is put in here, for those who use the model: it is trained on texts as they are.
    """
    cleaning = Tokenizer.from_str(tokenizer.to_str())
    cleaning.normalizer = clean_up(tokenizer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=cleaning,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
    wrapped.save_pretrained(folder)
