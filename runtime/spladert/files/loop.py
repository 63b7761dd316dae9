"""The one loop of every job: records in, vectors out, chunk by chunk, in constant memory.

Three stages overlap: a thread reads, a thread runs the model, and the caller's own thread writes. Chunks begin at the
same records in every run, so the output of a run that was interrupted and resumed has the same bytes as that of one
that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from ..counting import counted_were
from ..encoder import SparseEncoder
from ..errors import InputError
from ..vectors import SparseVectors
from .ahead import Ahead
from .chunks import Chunk, ChunkReader
from .job import Digest, Job, Progress, RunOptions, Summary
from .records import BadRecord, Record
from .sinks import Sink

MEASURED = 32  # texts of a chunk, about, of which it is measured how much was not read


def encode_records(
    encoder: SparseEncoder,
    records: Iterator[Record | BadRecord],
    sink: Sink,
    job: Job,
    options: RunOptions,
    *,
    position: Callable[[], int] = lambda: 0,
    advance: Callable[[int, int], None] = lambda records, position: None,
) -> Summary:
    """Encode records into a sink, or go on where an interrupted run of the same job stopped.

    Args:
        encoder: a loaded encoder.
        records: the whole input from its beginning, also when a run is resumed; read in another thread.
        sink: where the vectors go.
        job: what decides the output; of `Job.of(encoder, ...)`.
        options: how to run.
        position: where in the input's file the reading is, for `advance`.
        advance: called after each chunk with the records done in all and the position after them.

    Raises:
        InputError: a record is bad and `skip_errors` is not set; or what an interrupted run left belongs to another
            input, model or settings.
    """
    done = sink.resume(job)
    resumed, damage = done.records, None
    digest = Digest(with_fields=sink.keeps_fields)
    _skip_done(records, done, digest, sink, options)
    chunks = ChunkReader(
        records,
        job.chunk,
        skip_errors=options.skip_errors,
        patience=options.patience,
        position=position,
    )
    encoded = Ahead(_encode(encoder, chunks, job, options))
    try:
        chunks.start()
        encoded.start()
        for chunk, vectors, tokens, cut, unread in encoded:
            sink.write(chunk.good, vectors)
            if chunk.bad and not options.skip_errors:
                raise _bad_record_error(chunk.bad[0], done.records, len(chunk.good), sink)
            if chunk.bad:
                sink.reject(chunk.bad)
                damage = chunk.bad[-1] if chunk.bad[-1].last else None
            digest.add(chunk.all)
            done = Progress(
                records=done.records + len(chunk.all),
                errors=done.errors + len(chunk.bad),
                truncated=done.truncated + vectors.truncated,
                cut_characters=done.cut_characters + cut,
                unread_characters=done.unread_characters + unread,
                digest=digest.hex(),
                tokens=done.tokens + tokens,
            )
            sink.commit(done)
            advance(done.records, chunk.position)
    finally:
        chunks.stop()
        encoded.stop()
        encoded.join()  # the model is at work, for one more batch
    sink.finish()
    return Summary(
        done.records - done.errors,
        done.errors,
        done.truncated,
        resumed,
        None if damage is None else f"line {damage.line}: {damage.error}",
        done.unread_characters / max(done.cut_characters, 1),
        sink.refused,
        done.tokens,
    )


def _encode(
    encoder: SparseEncoder, chunks: ChunkReader, job: Job, options: RunOptions
) -> Iterator[tuple[Chunk, SparseVectors, int, int, int]]:
    """Each chunk with its vectors, its tokens, the characters of texts that were cut, and how many were not read.

    The last two are of some of these texts, evenly chosen: they are tokenized a second time for it.
    """
    for chunk in chunks:
        how = job.encoding
        tokenized = encoder.tokenize_batch(
            [record.text for record in chunk.good],
            side=how.side,
            max_length=how.max_length,
            split_special_tokens=how.split_special_tokens,
        )
        results = encoder.run(tokenized.input_ids, side=how.side, batch_size=options.batch_size)
        vectors = encoder.assemble(chunks.until_stopped(results), tokenized, how.top_k, how.prune)
        tokenizer = encoder.tokenizer
        if not (how.split_special_tokens or tokenizer.looks_up(how.side) or tokenizer.prompt(how.side)):
            vectors = replace(vectors, input_ids=tokenized.input_ids)
        positions = tokenized.truncated.nonzero()[0]
        cut = [chunk.good[i].text for i in positions[:: len(positions) // MEASURED + 1]]
        read = (encoder.tokenizer.characters_read(text, side=how.side, max_length=how.max_length) for text in cut)
        characters = sum(map(len, cut))
        yield chunk, vectors, sum(map(len, tokenized.input_ids)), characters, characters - sum(read)


def _bad_record_error(record: BadRecord, committed: int, behind: int, sink: Sink) -> InputError:
    where = f"line {record.line}: {record.error}"
    if not record.last:
        return InputError(f"{where} (--skip-errors goes on after such lines)")
    before = f"before it, {counted_were(committed + behind, 'record')}"
    if sink.checkpoint is None:
        return InputError(f"{where}; {before} written")
    return InputError(
        f"{where}; {before} read, of which {committed:,} are kept ({sink.checkpoint}): the same command goes on from "
        "there once the input is whole, or finishes with what it could read given --skip-errors"
    )


def _skip_done(
    records: Iterator[Record | BadRecord], done: Progress, digest: Digest, sink: Sink, options: RunOptions
) -> None:
    """Read over what an earlier run has done.

    Raises:
        InputError: it is not the same.
    """
    if done.errors and not options.skip_errors:
        raise InputError(
            f"{sink.checkpoint} is left of an interrupted run with a different skip-errors: "
            "run with the same again to finish it, or delete that folder to start over"
        )
    count = 0
    for record in islice(records, done.records):
        digest.add([record])
        count += 1
    if count < done.records or (count and digest.hex() != done.digest):
        raise InputError(
            f"the first {done.records} records are not those that {sink.checkpoint} was made from: "
            "give the same input again to finish it, or delete that folder to start over"
        )
