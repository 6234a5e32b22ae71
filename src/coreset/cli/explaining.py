"""The command that says what became of a sample, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from coreset.cli.app import app
from coreset.cli.options import HelpWithDefaults, Json, RunFolder

Words = Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys; or words of a caption, in any case.")]
GraphFile = Annotated[
    str | None,
    typer.Option(
        "--graph",
        metavar="FILE.graphml",
        help="Write the graph of the samples' components: pictures and their cosines.",
        show_default=False,
    ),
]
PageFile = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE.html", help="Write the same as a page with pictures.", show_default=False),
]
Pictures = Annotated[
    bool | None,
    typer.Option(
        "--pictures/--no-pictures",
        help="Show pictures in the terminal. [default: where it is known to show them]",
        show_default=False,
    ),
]


@app.command(cls=HelpWithDefaults)
def explain(
    words: Words,
    graph: GraphFile = None,
    html: PageFile = None,
    pictures: Pictures = None,
    run: RunFolder = "run",
    json: Json = False,
) -> None:
    """Say what became of a sample and why: fate, scores, ranks, component, and the chain to the picture kept for it."""
    from coreset.cli.explained import explained_result, show_absent, wanted_protocol
    from coreset.results.explain.chain import check_graph, write_graphs
    from coreset.results.explain.explain import Explained, explained
    from coreset.results.explain.page import check_page, write_page

    if graph is not None:
        check_graph(graph)
    if html is not None:
        check_page(html)
    folder, protocol = run.rstrip("/"), wanted_protocol(pictures)
    found = explained(folder, words)
    told = [entry for entry in found if isinstance(entry, Explained)]
    explained_result(folder, found, json, protocol)
    if graph is not None:
        write_graphs(folder, [entry.key for entry in told], graph)
    if html is not None:
        absent = write_page(folder, told, html)
        if not json:
            show_absent(absent)
