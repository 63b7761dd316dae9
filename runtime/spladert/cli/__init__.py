"""The command line. Commands are imported when they are called, so that none pays for another's dependencies."""

from .group import Command, CommandGroup

__all__ = ["main"]

main = CommandGroup(
    "spladert",
    {
        "encode": Command("spladert.cli.encode", "encode_command", "Texts or a file to sparse vectors."),
        "index": Command(
            "spladert.cli.index",
            "index_command",
            "Documents into a folder that can be searched.",
            "spladert[cpu,search]",
        ),
        "search": Command("spladert.cli.search", "search_command", "A question to an index of vectors."),
        "inspect": Command("spladert.cli.inspect", "inspect_command", "What a bundle is, and whether it is intact."),
        "serve": Command("spladert.cli.serve", "serve_command", "An HTTP server, with a page.", "spladert[cpu,serve]"),
        "build": Command(
            "spladert.cli.build", "build_command", "TensorRT engines ahead of their first use.", "spladert[gpu]"
        ),
        "idf": Command("spladert.cli.idf", "idf_command", "A bundle whose queries need no model."),
        "evaluate": Command("spladert.cli.evaluate", "evaluate_command", "Retrieval quality of a bundle."),
        "bench": Command("spladert.cli.bench", "bench_command", "Speed and memory of a bundle on this machine."),
        "package": Command("spladert.cli.package", "package_command", "A bundle made ready for another program."),
        "export": Command(
            "spladert_export.cli", "export_command", "A SPLADE checkpoint to a bundle.", "spladert[cpu,export]"
        ),
        "verify": Command(
            "spladert_export.cli", "verify_command", "A bundle against its checkpoint.", "spladert[cpu,export]"
        ),
    },
    help="SPLADE sparse encoders as one ONNX graph: token ids in, top-k (token id, weight) out.",
)
