"""What `--dry-run` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coreset.cli.show import out, print_json

if TYPE_CHECKING:
    from coreset.recipe import Recipe


def plan_result(run: str, recipe: Recipe, names: Sequence[str], as_json: bool) -> None:
    """Show what a command would do."""
    from coreset.engine.stage import params_json
    from coreset.pipeline import is_import, listed_embeddings, listed_shards
    from coreset.results.states import stage_states

    states = {state.name: state for state in stage_states(run, names)}
    imports = "rows" in names and is_import(recipe)
    stage_of = {
        "rows": "import_" if imports else "embed",
        "centroids": "cluster",
        "clusters": "cluster",
        "dedup": "dedup",
        "coreset": "sample",
    }
    plan = {name: params_json(getattr(recipe, stage_of[name])) for name in names}
    shards: list[str] = []
    if imports:
        embeddings, params = listed_embeddings(recipe)
        shards = [part.name for part in embeddings.folder.parts]
        plan["rows"] = params_json(params)
    elif "rows" in names:
        shards = [shard.name for shard in listed_shards(recipe, recipe.embed.prefix_keys)]
    if as_json:
        print_json({"run": run, "shards": shards, "params": plan, "state": {n: s.state for n, s in states.items()}})
        return
    if shards:
        out(f"input: {len(shards):,} {'file(s) of vectors' if imports else 'shard(s)'}, {shards[0]} … {shards[-1]}")
    for name in names:
        out(f"{run}/{name}/: {states[name].state}, {states[name].parts} part(s) there")
        out("  " + ", ".join(f"{key} = {value}" for key, value in plan[name].items() if value not in {"", None}))
    out("nothing was done (--dry-run)")
