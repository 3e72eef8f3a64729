"""``headway models``: the pretrained networks that can be had, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.cli._guard import guarded
from headway.cli._screen import add, console, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headway.types import BackboneSpec

app = typer.Typer(
    help="List, search and look up pretrained networks.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Modality = Annotated[str, typer.Option(metavar="M", help="image or text.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command("list")
@guarded
def list_(
    source: Annotated[
        str,
        typer.Option(metavar="S", help="packaged, timm, transformers, sentence_transformers or random."),
    ] = "packaged",
    modality: Modality = "image",
    json: Json = False,
) -> None:
    """The networks of a source."""
    from headway import backbones

    _show(backbones.listed(source, modality=modality), json=json)
    if source == "packaged" and not json and modality == "image":
        say("More: headway models list --source timm, headway models search TEXT")
    elif source == "packaged" and not json:
        say("More: transformers:ORG/NAME, sentence_transformers:ORG/NAME, a local folder, vectors:FILE")


@app.command()
@guarded
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words in a network's name or licence.")],
    modality: Modality = "image",
    json: Json = False,
) -> None:
    """The networks whose name or licence holds all words of a text, packaged ones first."""
    from headway import backbones

    _show(backbones.search(text, modality=modality), json=json)


@app.command()
@guarded
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network's name, as listed.")],
    modality: Annotated[str, typer.Option(metavar="M", help="image or text; without it, whichever has it.")] = "",
    json: Json = False,
) -> None:
    """Everything that is known of a network without building it."""
    from headway import backbones

    specs = backbones.look_up(name, modality=modality)
    if json:
        say_json(_facts(specs[0]) if len(specs) == 1 else [_facts(spec) for spec in specs])
        return
    for spec in specs:
        shown = table(spec.name, "", "")
        for key, value in _facts(spec).items():
            add(shown, key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value)
        console().print(shown)


def _show(specs: Sequence[BackboneSpec], *, json: bool) -> None:
    if json:
        say_json([_facts(spec) for spec in specs])
        return
    measured = any(spec.modality == "image" for spec in specs)
    columns = ["=name", ">features", ">parameters", *([">ImageNet top-1"] if measured else []), "licence"]
    shown = table(f"{len(specs)} networks", *columns)
    for spec in specs:
        top = ["" if spec.accuracy is None else f"{spec.accuracy:.3f}"] if measured else []
        # timm's networks are not built for a list, so their sizes are not known yet.
        size = f"{spec.params / 1e6:.1f} M" if spec.params else ""
        add(shown, spec.name, spec.dim or "", size, *top, spec.licence)
    console().print(shown)


def _facts(spec: BackboneSpec) -> dict[str, Any]:
    from dataclasses import asdict

    return {"name": spec.name, "id": spec.id, **asdict(spec)}
