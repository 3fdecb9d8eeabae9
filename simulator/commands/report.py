"""`laser-ab report` and `laser-ab compare`: read run folders again."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from simulator.commands.options import FailOn, Json, named

if TYPE_CHECKING:
    from simulator.results.read import Run

RunOrSweep = Annotated[Path, typer.Argument(metavar="RUN", help="A run or sweep folder.")]


def report(
    run: RunOrSweep,
    form: Annotated[
        Literal["table", "text", "json", "csv", "markdown", "html", "parquet"],
        typer.Option("--format", help="How to print it; html is one page that loads nothing."),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write there; parquet needs it.", callback=named),
    ] = None,
    pdf: Annotated[
        Path | None,
        typer.Option(
            "--pdf",
            metavar="FILE",
            help="Write the page of --format html there too, as a PDF; needs a Chromium, Chrome or Edge.",
            callback=named,
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say in full how busy each arm's servers were.")
    ] = False,
    as_json: Json = False,
    fail_on: FailOn = None,
    p99_ms: Annotated[
        float | None,
        typer.Option(
            "--p99-ms", min=0, help="Of a sweep: most P99 latency; the file's guardrail by default."
        ),
    ] = None,
    late_share: Annotated[
        float | None,
        typer.Option("--late-share", min=0, max=1, help="Of a sweep: most late answers; 0.01 by default."),
    ] = None,
    degraded_share: Annotated[
        float | None,
        typer.Option("--degraded-share", min=0, max=1, help="Of a sweep: most degraded answers."),
    ] = None,
    revenue_floor: Annotated[
        float | None,
        typer.Option("--revenue-floor", min=-1, help="Of a sweep: least lift of revenue; 0 by default."),
    ] = None,
    price_per_hour: Annotated[
        str | None,
        typer.Option(
            "--price-per-hour",
            metavar="SCORER[,WORKER]",
            help="Of a sweep: what a scorer and a store worker cost; by default 1 each, which counts them.",
        ),
    ] = None,
) -> None:
    """Show a run's scorecard, or what a sweep answers."""
    from simulator.commands.verdicts import parse_fail_on
    from simulator.results.files import write_new

    asked = {
        "p99_ms": p99_ms,
        "late_share": late_share,
        "degraded_share": degraded_share,
        "revenue_floor": revenue_floor,
        **_prices(price_per_hour),
    }
    if _is_sweep(run):
        given = {"--format": form != "table", "--out": out, "--pdf": pdf, "--verbose": verbose,
                 "--fail-on": fail_on}  # fmt: skip
        _answer(run, asked, as_json, [name for name, value in given.items() if value])
        return
    if any(value is not None for value in asked.values()):
        raise typer.BadParameter(f"found {run}, which is a run; limits and prices are asked of a sweep")
    checks = parse_fail_on(fail_on)
    form = "json" if as_json else form
    _refuse_results(out, "--out")
    _refuse_results(pdf, "--pdf")
    scorecard = scorecard_of(run)
    if form == "parquet" and out is None:
        raise typer.BadParameter(
            "parquet is no text; say where to write it with --out FILE", param_hint="--format"
        )
    made = _rendered(scorecard, form, verbose)
    if out is None:
        print(made.decode(), end="")
    else:
        write_new(out, lambda file: file.write(made))
    if pdf is not None:
        from simulator.results.document import as_html
        from simulator.results.pdf import as_pdf

        printed = as_pdf(as_html(scorecard))
        write_new(pdf, lambda file: file.write(printed))
    end_on(scorecard, checks)


def _rendered(scorecard: Mapping[str, Any], form: str, verbose: bool) -> bytes:
    """A scorecard in a form of --format."""
    from simulator.results.document import as_html, as_markdown
    from simulator.results.report import csv_rows, render

    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(csv_rows(scorecard)), table)
        written: bytes = table.getvalue().to_pybytes()
        return written
    documents = {"html": as_html, "markdown": as_markdown}
    document = documents.get(form)
    text = document(scorecard) if document else render(scorecard, form, verbose=verbose)
    return text.encode()


def _is_sweep(folder: Path) -> bool:
    from simulator.results.errors import ResultsError
    from simulator.results.read import read_manifest

    try:
        return bool(read_manifest(folder)["kind"] == "sweep")
    except ResultsError:
        return False  # whoever reads it as a run says more about it


def _prices(text: str | None) -> dict[str, Any]:
    """Of a scorer and of a store worker."""
    if text is None:
        return {}
    scorer, comma, worker = text.partition(",")
    try:
        prices = [float(scorer), float(worker) if comma else 0.0]
        if not all(0 <= price < 1e9 for price in prices):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            f"found {text!r}, expected prices of at least 0, such as 2.5 or 2.5,0.05",
            param_hint="--price-per-hour",
        ) from None
    return {"scorer_per_hour": prices[0], "worker_per_hour": prices[1], "priced": True}


def _answer(folder: Path, asked: Mapping[str, Any], as_json: bool, refused: list[str]) -> None:
    """What a sweep answers."""
    from simulator.results.answers.build import answers_of
    from simulator.results.answers.terms import terms_of
    from simulator.results.answers.text import answer_lines
    from simulator.results.read import read_sweep

    if refused:
        raise typer.BadParameter(f"found {folder}, which is a sweep; {', '.join(refused)} is for runs")
    found = read_sweep(folder)
    if found.problem is not None:
        raise found.problem
    answers = answers_of(found, terms_of(found, **asked))
    if as_json:
        from simulator.commands.output import print_json

        print_json({"sweep": str(folder), "status": found.status, "answers": answers})
        return
    if found.status != "finished":
        print(
            f"warning: {folder}: found a sweep that is {found.status}; more cells may come.", file=sys.stderr
        )
    print("\n".join(answer_lines(answers, found.axes)))


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    diff_only: Annotated[bool, typer.Option("--diff-only", help="Only what differs.")] = False,
    as_json: Json = False,
) -> None:
    """Put two runs side by side: metrics, and the settings in which they differ."""
    from simulator.results import report as renderers
    from simulator.results.read import read_run

    for folder in (a, b):
        scorecard_of(folder)  # says so where there is nothing to compare
    found = renderers.compare(read_run(a), read_run(b))
    metrics = [row for row in found.metrics if not diff_only or _differs(row)]
    if as_json:
        from simulator.commands.output import print_json

        settings = {key: {"a": left, "b": right} for key, (left, right) in found.settings.items()}
        print_json({"a": str(a), "b": str(b), "metrics": metrics, "settings": settings})
        return
    _print_comparison(metrics, found.settings)
    _print_serving({"A": read_run(a).scorecard or {}, "B": read_run(b).scorecard or {}})


def scorecard_of(folder: Path) -> dict[str, Any]:
    """A run's scorecard, with the status that the run has now; stderr mentions one that is not finished.

    Raises:
        ResultsError: the folder is damaged, or the run has none yet.
    """
    from simulator.results.errors import ResultsError
    from simulator.results.read import read_run

    run = read_run(folder)
    if run.problem is not None:
        raise run.problem
    if run.scorecard is None:
        advice = {
            "running": "Wait for the run to end.",
            "interrupted": f"Continue it: {run.next_command}",
        }.get(
            run.status,
            f"The run says: {str(run.manifest.get('error')).rstrip('.')}. Then: {run.next_command}",
        )
        found = f"found a run that is {run.status}, expected a scorecard. There is: {_what_is_there(run)}."
        raise ResultsError(folder, found, advice)
    if run.status != "finished":
        print(
            f"warning: {folder}: found a run that is {run.status}, expected a finished one. "
            "Its scorecard may not be its last.",
            file=sys.stderr,
        )
    # The file was written before the run's end was known.
    return {**run.scorecard, "status": run.status}


def _what_is_there(run: "Run") -> str:
    """How far an unfinished run came, and its files."""
    stages = [f"{stage['name']} {stage['done']}/{stage['total']}" for stage in run.stages]
    files = sorted(run.manifest["files"])
    return f"stages {', '.join(stages) or 'none'}; files {', '.join(files) or 'none'}"


def end_on(scorecard: Mapping[str, Any], checks: tuple[str, ...]) -> None:
    """Leave with exit code 3 or 4 when a check of --fail-on fails, saying which."""
    from simulator.commands.verdicts import exit_code

    code, reasons = exit_code(scorecard, checks)
    for reason in reasons:
        print(reason, file=sys.stderr)
    if code:
        raise typer.Exit(code)


def _refuse_results(out: Path | None, option: str) -> None:
    from simulator.results.read import results_around

    found = results_around(out) if out is not None else None
    if found is not None:
        raise typer.BadParameter(
            f"found {out} inside {found}, which holds results; expected a file outside of it",
            param_hint=option,
        )


def _differs(row: Mapping[str, Any]) -> bool:
    return any(row[f"{name}_a"] != row[f"{name}_b"] for name in ("control", "treatment", "lift", "true_lift"))


def _print_comparison(metrics: list[dict[str, Any]], settings: Mapping[str, tuple[Any, Any]]) -> None:
    from rich.table import Table

    from simulator.results.compare import setting_text
    from simulator.results.report import terminal

    console = terminal()
    arms = dict.fromkeys(row["arm"] for row in metrics)
    for arm in arms:
        if len(arms) > 1:
            console.print(f"\n{arm}")
        console.print(_comparison([row for row in metrics if row["arm"] == arm]))
    if not metrics:
        console.print("No metric differs.")
    if not settings:
        console.print("No setting differs.")
        return
    differences = Table("setting", "A", "B")
    for key, (left, right) in settings.items():
        differences.add_row(key, setting_text(left), setting_text(right))
    console.print(differences)


def _comparison(metrics: list[dict[str, Any]]) -> Any:
    """One treatment's metrics in both runs; an interval stands below its lift, so that 80 columns suffice."""
    from rich.table import Table

    from simulator.results import numbers

    table = Table()
    for heading in ("metric", "lift in A", "true in A", "lift in B", "true in B", "treatment,\nB over A"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for row in metrics:
        cells = [numbers.metric_form(row["metric"], row["unit"]).label]
        for run in ("a", "b"):
            ends = numbers.interval(row[f"ci_{run}"], numbers.lift)
            below = "" if ends == numbers.MISSING else f"\n{ends}"
            cells += [numbers.lift(row[f"lift_{run}"]) + below, numbers.lift(row[f"true_lift_{run}"])]
        table.add_row(*cells, numbers.lift(row["treatment_change"]))
    return table


def _print_serving(cards: Mapping[str, Mapping[str, Any]]) -> None:
    """How the arms of both runs were served: late and degraded requests are what a latency budget costs."""
    from rich.table import Table

    from simulator.results.overview import serving
    from simulator.results.report import terminal

    rows = [(run, *row) for run, card in cards.items() for row in serving(card)[1:]]
    headings = next((serving(card)[0] for card in cards.values() if serving(card)), None)
    if headings is not None:
        table = Table("run", *headings, title="How the arms served", title_justify="left")
        for row in rows:
            table.add_row(*row)
        terminal().print(table)
