"""The command ``lorral``: exit code 0 done, 1 a check failed, 2 bad input (a line that says what and where, for each of
several; the rest is done)."""

import argparse
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from . import __doc__ as ABOUT
from . import __version__
from .device import cores, share_cores
from .files import MOST_SEED, DataError, data_file, only_one, read_json
from .output import (
    drop_what_nobody_reads,
    forgive_characters,
    full_output,
    is_broken_pipe,
    is_full_memory,
    plain,
)

share_cores()  # before torch is imported


def complain(what) -> None:
    """Say on standard error, in one line, what is wrong."""
    try:
        print("lorral:", plain(" ".join(str(what).split())), file=sys.stderr)
    except OSError as error:
        if is_broken_pipe(error):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # a full disk there changes no exit code


def each(items: Iterable, do: Callable, name: Callable = str) -> int:
    """Do something with each of several; what is wrong with one is said, the rest is done, and the exit code is 2.
    ``name(item)`` is what a line calls an item where the error does not."""
    code = 0
    for item in items:
        try:
            do(item)
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            full = is_full_memory(error)
            if is_broken_pipe(error) or (isinstance(error, RuntimeError) and not full):
                raise
            complain(f"{name(item)}: the memory is full ({error})" if full else error)
            code = 2
    return code


# What each command does. It gets its options under their names, which are those of the functions that it calls.


def _prepare_faces(out, **options) -> None:
    from .datasets.synthetic import prepare_faces

    print(_prepared(out, prepare_faces(out, **options)))


def _prepare_table(out, **options) -> int:
    from .datasets.table import prepare_table

    folder = prepare_table(out, **options)
    print(f"{_prepared(out, folder)}; {folder.meta['skipped']} skipped")
    left_out = folder.meta.get("left_out", [])
    for table in left_out:
        complain(f"{table}; the people of this table are not in {out}")
    return 2 if left_out else 0


def _prepared(out, folder) -> str:
    unknown = [str(au) for au, n in zip(folder.aus, folder.meta["unknown"], strict=True) if n == len(folder)]
    return (f"{out}: {len(folder)} frames of {folder.meta['subjects']} subjects, {folder.size} px, "
            f"AUs {' '.join(map(str, folder.aus))}"
            + (f", no known label of AU {' '.join(unknown)}" if unknown else ""))


def _prepare_licensed(data, root, out, subjects, size, check, workers, fast_decode, strict, progress,
                      **choices) -> int:
    """BP4D or DISFA: look, say what is there, then check or prepare."""
    from .datasets import checking
    from .datasets.bp4d import bp4d
    from .datasets.disfa import disfa
    from .datasets.preparing import prepare_sequences

    if out is None and not check:
        raise ValueError(f"name the folder to make: lorral prepare {data} ROOT OUT, or use --check")
    source = {"bp4d": bp4d, "disfa": disfa}[data](root, subjects=subjects, **choices)
    checking.describe(source)
    if check:
        return 0 if checking.agrees_with_published(source, not subjects) else 1
    folder = prepare_sequences(out, root, source.sequences, size, source.aus, source.meta, workers=workers,
                               fast_decode=fast_decode, strict=strict, progress=progress)
    print(f"{out}: {len(folder):,} frames of {folder.meta['subjects']} subjects, {folder.size} px; "
          f"{folder.meta['skipped']:,} rows skipped" + (", see skipped.csv" if folder.meta["skipped"] else ""))
    return 0


def _train(data, run, profile, relations, device, progress, workers, jitter, **recipe) -> int:
    from .datasets.prepared import open_prepared
    from .training.config import RunConfig
    from .training.evaluation import evaluate
    from .training.steps import train_step1, train_step2

    make = {"lite": RunConfig.lite, "paper": RunConfig.paper}[profile]
    if jitter is not None:
        recipe["jitter"] = jitter
    config = make(Path(data), open_prepared(data).aus, **recipe)
    train_step1(run, config, device, progress, workers=workers)
    if not (Path(run) / "step1_metrics.json").exists():
        evaluate(run, None, device, progress)

    def step2(relation: str) -> None:
        train_step2(run, relation, device, progress)
        print(_line(evaluate(run, relation, device, progress)))

    return each(relations, step2)

def _evaluate(run, relations, device, progress) -> int:
    from .report.numbers import number
    from .training.evaluation import evaluate

    def one(relation: str | None) -> None:
        metrics = evaluate(run, relation, device, progress)
        print(_line(metrics))
        for name, output in metrics["outputs"].items():
            cells = "  ".join(f"AU{au} {number(f1)}" for au, f1 in zip(metrics["aus"], output["f1"], strict=True))
            print(f"  {name:5s} {cells}")

    return each(relations or [None], one, lambda relation: relation or "step 1")


def _line(metrics: dict) -> str:
    from .report.numbers import number

    au, local = metrics["outputs"]["au"], metrics["outputs"]["local"]
    unknown = [str(a) for a, f1 in zip(metrics["aus"], au["f1"], strict=True) if f1 is None]
    return (f"{metrics['relation'] or 'step 1'}: F1 {number(au['mean_f1'])} (local {number(local['mean_f1'])}, "
            f"always positive {number(metrics['always_positive']['mean_f1'])}), AUC {number(au['mean_auc'])}, "
            f"accuracy {number(au['mean_accuracy'])}, "
            f"landmarks {metrics['landmarks']['nme_percent']:.2f} %, {metrics['frames']} unseen frames of "
            f"{metrics['subjects']} subjects; data: {metrics['data']['source']}"
            + (f"; no known label of AU {' '.join(unknown)} in them" if unknown else ""))


def _predict(photos, run, relation, out, device) -> int:
    from .photo import predict_photo
    from .training.origin import results_of
    from .training.run_folder import load_model

    stems = [Path(photo).stem.strip(". ") or "photo" for photo in photos]
    alike = [unicodedata.normalize("NFC", stem).casefold() for stem in stems]  # on some disks one name
    for stem, name in zip(stems, alike, strict=True):
        if alike.count(name) > 1:
            raise ValueError(f"two photos are called {stem}: their files would overwrite each other; call twice")
    run = run or data_file("weights", "faces_lite")
    model, made_by = load_model(run, relation, device), results_of(run, relation)

    def one(photo: str, stem: str) -> None:
        place = Path(out) if len(photos) == 1 else Path(out) / stem
        for name in ("overlay.png", "aus.csv", "landmarks.csv", "prediction.json"):
            if (place / name).exists():
                raise DataError(f"{photo}: {place / name} is there already; name another --out, or remove it")
        print(f"{plain(str(photo))}: {predict_photo(model, photo, place, made_by).line}")

    return each(zip(photos, stems, strict=True), lambda pair: one(*pair), lambda pair: str(pair[0]))


def _reproduce(**options) -> int:
    from .reproduce.plan import reproduce

    failures = reproduce(**options)
    if failures:
        complain(f"{len(failures)} failed, as said above; the same command tries again what is missing")
    return 2 if failures else 0


def _report(run, check, write, show_licensed_faces) -> int | None:
    if check or write:
        from .report.blocks import check_figures, write_blocks

        if run:
            raise ValueError("--check and --write are about this repository's own figures: leave RUN out")
        if write:
            print("written anew:", ", ".join(write_blocks()) or "nothing, all is as it was")
        if check:
            wrong = check_figures()
            print("\n".join(wrong) or "every figure is what its JSON says")
            return 1 if wrong else 0
        return 0
    from .report.write import write_report

    if not run:
        raise ValueError("name a run folder or a grid of them: lorral report RUN; or --check, --write")
    page = write_report(run, Path(run) / "report.html", show_licensed_faces=show_licensed_faces)
    print(page)
    problems = read_json(page.with_suffix(".json"))["problems"]
    for problem in problems:
        complain(problem)
    return 2 if problems else 0


def _experiment(part, out, seeds, jobs, results, progress, device, **size) -> None:
    from .study.experiment import Size, run_experiment, summary, write_result

    out = Path(out or f"runs/{part}")
    if part != "relations":
        from .study import parts, question, readings, teaching

        studies = {"readings": readings, "parts": parts, "teaching": teaching, "trial": question}
        study, results = studies[part], results or out / "cells"
        taken = [] if part == "readings" else [readings.adopted(data_file("results", "readings"))]
        with only_one(out, "experimenting in"):
            study.run(out, results, *taken, jobs=jobs, device=device, progress=progress)
        print(f"{study.table(results)}\n{results}")
        return
    result = run_experiment(out, seeds, Size(**size), jobs, progress)
    results = Path(results or Path(out) / "results.json")
    write_result(results, result)
    print(f"{summary(result)}\n{results}")


# What each command is asked for: the name of an option is that of the parameter above.


class RelationNames:
    """The names of all relations. They are looked up when a command needs them, because that imports torch."""

    def __iter__(self):
        from .model.relations import RELATIONS

        return iter(RELATIONS)


READER_GONE = 141
"""The exit code that shells give to a command whose output nobody reads any more."""


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that says an option's default, unless that is nothing, or a switch that is off."""

    def _get_help_string(self, action):
        silent = isinstance(action.default, bool | list | None)
        return action.help if silent else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, like all of ours."""

    def error(self, message: str):
        self.exit(2, f"lorral: {message}; see `{self.prog} --help`\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line, as argparse sees it."""
    top = Parser(prog="lorral", description=ABOUT.splitlines()[0])
    top.add_argument("--version", action="version", version=f"lorral-lite {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    quiet = Parser(add_help=False)
    quiet.add_argument("--quiet", dest="progress", action="store_false", help="no progress bars")
    device = Parser(add_help=False)
    device.add_argument("--device", type=device_name, help="cuda, cpu, …; default: a GPU when there is one; reproduce: "
                        "every GPU, or cuda:0,cuda:1")
    preparing = Parser(add_help=False, parents=[quiet])
    preparing.add_argument("--workers", type=within(1, 1024), help="processes; default: one for each CPU")
    preparing.add_argument("--fast-decode", action="store_true",
                           help="let the JPEG decoder halve large pictures: faster, slightly other pixels (D37)")
    preparing.add_argument("--strict", action="store_true", help="stop at the first frame that cannot be used")
    threads = {"type": within(1, 1024), "help": "of the CPU; a run keeps its number (default: 1 or all, whichever is "
               "faster when the run begins)"}
    names = {"choices": RelationNames(), "metavar": "RELATION"}
    relations = {"dest": "relations", "nargs": "*", "default": [], **names}

    def command(where, name, function, summary, parents=(device, quiet), stopped="stopped; the same command goes on"):
        sub = where.add_parser(name, parents=parents, help=summary, description=summary[0].upper() + summary[1:] + ".",
                               formatter_class=Help)
        sub.set_defaults(function=function, stopped=stopped)
        return sub

    prepare = commands.add_parser("prepare", help="turn a source of faces into a prepared folder")
    sources = prepare.add_subparsers(required=True, metavar="SOURCE")
    sub = command(sources, "faces", _prepare_faces, "render procedural faces with known AUs and relations",
                  stopped="stopped; nothing was kept")
    sub.add_argument("out", metavar="OUT", help="the folder to make")
    sub.add_argument("--subjects", type=within(1), default=90, help="how many people")
    sub.add_argument("--frames", type=within(1), default=50, help="frames of each person")
    sub.add_argument("--size", type=within(1), default=100, help="pixels: 100 for lite, 200 for paper")
    sub.add_argument("--profile", choices=["bp4d", "disfa"], default="bp4d", help="whose AUs, rates and relations")
    sub.add_argument("--difficulty", choices=["easy", "default", "hard"], default="default", help="how faint AUs are")
    sub.add_argument("--relation-strength", type=within(0, 1, float), default=1.0,
                     help="0 (independent AUs) to 1 (the real data)")
    sub.add_argument("--structure", choices=["real", "cooccurrence", "exclusion", "copy"], default="real",
                     help="which relations the AUs have")
    sub.add_argument("--hidden", type=int, nargs="*", default=[], metavar="AU", help="AUs whose evidence is covered")
    sub.add_argument("--seed", type=within(0, MOST_SEED), default=0)

    sub = command(sources, "table", _prepare_table, "frames and the table that OpenFace, py-feat or LibreFace wrote",
                  [preparing])
    sub.add_argument("tables", metavar="TABLE.csv", nargs="+", help="what the tool wrote, one file or several")
    sub.add_argument("out", metavar="OUT", help="the folder to make")
    sub.add_argument("--images", metavar="PATH", help="the video or the folder of pictures; several tables: the folder "
                     "where those of each table's name are (default: beside the table)")
    sub.add_argument("--aus", type=int, nargs="+", metavar="AU", help="default: all that every table has")
    finite = within(-1e9, 1e9, float)
    sub.add_argument("--threshold", type=finite, help="an AU is shown from this intensity (py-feat: probability) on")
    sub.add_argument("--confidence", type=finite, default=0.7, help="leave out frames that the tool trusts less")
    sub.add_argument("--subject", help="who is in the pictures (default: a column, else the table's name)")
    sub.add_argument("--subject-column", default="subject", metavar="COLUMN")
    sub.add_argument("--distinct", nargs=2, action="append", default=[], metavar=("A", "B"),
                     help="two names that look like one person's are two people's")
    sub.add_argument("--orientation", choices=["upright", "stored"],
                     help="how the tool saw pictures that are stored turned (default: told by tool and landmarks)")
    sub.add_argument("--order", choices=["names", "numbers"],
                     help="which picture of a folder is which frame, where that cannot be told")
    sub.add_argument("--size", type=within(1), default=200, help="pixels: 100 for lite, 200 for paper")
    sub.add_argument("--may-share", action="store_true",
                     help="everybody in the pictures agreed to be shown; else figures draw landmarks only")

    for name, summary in (("bp4d", "BP4D as distributed"), ("disfa", "DISFA as distributed")):
        sub = command(sources, name, _prepare_licensed, f"read, align and check {summary} (you need its licence)",
                      [preparing])
        sub.set_defaults(data=name)
        sub.add_argument("root", metavar="ROOT", help="the data set's folder; where things are is found by looking")
        sub.add_argument("out", metavar="OUT", nargs="?", help="the folder to make")
        kept = "146,576" if name == "bp4d" else "126,144"
        sub.add_argument("--frames", choices=["all", "jaa"], default="all",
                         help=f"every coded frame, or the {kept} that JAA-Net keeps")
        if name == "disfa":
            sub.add_argument("--threshold", type=int, choices=range(1, 6), default=2, metavar="T",
                             help="an AU is shown from this intensity on, 1 to 5")
            sub.add_argument("--camera", choices=["left", "right"], default="left")
        sub.add_argument("--subjects", nargs="*", default=[], metavar="ID", help="only these; default: all")
        sub.add_argument("--size", type=within(1), default=200, help="pixels: 200 for paper, 100 for lite")
        sub.add_argument("--check", action="store_true",
                         help="write nothing: read all but pixels, count, compare (exit code 1: differs)")

    sub = command(commands, "train", _train, "train step 1, then step 2 with each relation named")
    sub.add_argument("data", metavar="DATA", help="a prepared folder")
    sub.add_argument("run", metavar="RUN", help="the run folder; a run that was stopped goes on")
    sub.add_argument("--profile", choices=["lite", "paper"], default="lite", help="which model and schedule")
    sub.add_argument("--relation", **relations, help="for step 2: %(choices)s")
    sub.add_argument("--fold", type=int, default=1)
    sub.add_argument("--folds", type=int, default=3)
    sub.add_argument("--seed", type=within(0, MOST_SEED), default=0)
    sub.add_argument("--loss", choices=["ce", "jaa"], default="ce", help="jaa: per-AU weights and Dice of JAA-Net")
    sub.add_argument("--precision", choices=["fp32", "bf16"], default="fp32",
                     help="bf16: faster where the processor computes it itself")
    sub.add_argument("--select", choices=["last", "held_out"], default="last",
                     help="keep the last epoch, or the best one on held-out training subjects")
    sub.add_argument("--jitter", type=within(0, 1, float), metavar="STRENGTH",
                     help="vary light and colours of the training faces, 0 to 1 (D70); default: as the profile does")
    sub.add_argument("--threads", **threads)
    sub.add_argument("--workers", type=within(0, 256), default=0,
                     help="processes that read faces; the result is the same")

    sub = command(commands, "evaluate", _evaluate, "F1, AUC, accuracy and landmark error on the unseen subjects",
                  stopped="stopped")
    sub.add_argument("run", metavar="RUN")
    sub.add_argument("--relation", **relations, help="default: the model of step 1")

    sub = command(commands, "predict", _predict, "landmarks and AUs of a photograph, as an overlay PNG and a CSV",
                  [device], "stopped")
    sub.add_argument("photos", metavar="PHOTO", nargs="+")
    sub.add_argument("--run", help="a run folder; default: the weights that ship")
    sub.add_argument("--relation", **names, default="self_attention")
    sub.add_argument("--out", default="prediction", help="where the files go")

    sub = command(commands, "reproduce", _reproduce, "the whole way from data to report, for every fold and seed of a "
                  "profile; again only what is missing")
    sub.add_argument("root", metavar="ROOT", nargs="?",
                     help="bp4d, disfa: your copy of the data set; or a folder that `lorral prepare` made")
    sub.add_argument("--data", choices=["faces", "bp4d", "disfa"], default="faces", help="faces are drawn")
    sub.add_argument("--profile", choices=["smoke", "fast", "paper", "full"], default="smoke",
                     help="smoke: lite model, 1 fold, minutes; fast: lite, 3 folds; paper: paper model, 3 folds; "
                     "full: paper model, 3 folds, 5 seeds")
    sub.add_argument("--out", help="default: runs/faces, runs/bp4d or runs/disfa")
    chosen = {"nargs": "+", "type": within(0, MOST_SEED), "help": "only these; default: all of the profile"}
    sub.add_argument("--fold", dest="folds", metavar="FOLD", **chosen)
    sub.add_argument("--seed", dest="seeds", metavar="SEED", **chosen)
    sub.add_argument("--relation", **relations, help="default: all")
    sub.add_argument("--subjects", type=within(1), help="people to draw; default: 90")
    sub.add_argument("--frames", type=within(1), help="faces of each person; default: 50")
    sub.add_argument("--threads", **threads)
    sub.add_argument("--no-notebooks", dest="notebooks", action="store_false",
                     help="leave out the notebooks of each cell")
    sub.add_argument("--cluster", choices=["slurm", "local"],
                     help="give the cells to Slurm as a job array, or to processes here, through submitit")
    sub.add_argument("--partition", help="of Slurm")
    sub.add_argument("--hours", type=within(0.01, 1e4, float), help="most that a job of the cluster may take "
                     "(default: 24); the same command goes on from there")

    sub = command(commands, "report", _report, "the HTML report of a run folder or a grid; or --check this repository",
                  [], "stopped")
    sub.add_argument("run", metavar="RUN", nargs="?", help="a run folder, or a folder of several, fold<f>_seed<s>")
    sub.add_argument("--check", action="store_true",
                     help="is every figure in README and notebooks what its JSON says? What a notebook computes "
                     "from it may differ by two units of its last digit (exit code 1: no)")
    sub.add_argument("--write", action="store_true", help="write README's and notebooks' blocks of results anew")
    sub.add_argument("--show-licensed-faces", action="store_true",
                     help="draw pixels of licensed faces; never share such a report")

    sub = command(commands, "experiment", _experiment,
                  "do relation modules help, and when: strength, structure, hidden evidence, modules, seeds")
    sub.add_argument("part", nargs="?", choices=["relations", "readings", "parts", "teaching", "trial"],
                     default="relations",
                     help="readings: which reading of the paper works best; parts: when do PatchConv's parts pay; "
                     "teaching: with which rate and epochs of step 2 can relations listen? trial: the written "
                     "question, then its answer")
    sub.add_argument("--out", help="a folder, default runs/PART; what was stopped goes on")
    sub.add_argument("--seeds", type=within(1, 1000), default=5, help="each has its own people, faces and training")
    sub.add_argument("--subjects", type=within(1), default=90, help="people of each world; two thirds train")
    sub.add_argument("--frames", type=within(1), default=30, help="frames of each person")
    sub.add_argument("--step1-frames", type=within(1), default=50, help="frames of each person for step 1")
    sub.add_argument("--epochs", type=within(1), help="of each step; default: the full schedules")
    sub.add_argument("--jobs", type=within(1, 1024), default=min(2, cores()), help="processes, one thread each")
    sub.add_argument("--results", metavar="PATH", help="default: results.json in OUT; of the other parts a folder of "
                     "cells, default: OUT/cells; what is there is not done again")
    return top


def within(low: float, high: float = 10**9, kind: type = int) -> Callable[[str], float]:
    """The type of an option that is a number from ``low`` to ``high``."""
    def read(text: str) -> float:
        if not low <= (value := kind(text)) <= high:  # nor is NaN
            raise argparse.ArgumentTypeError(f"must be {low} to {high}, got {text}")
        return value

    read.__name__ = {int: "whole number", float: "number"}[kind]  # argparse says: invalid whole number value
    return read


def device_name(text: str) -> str:
    """The type of --device: PyTorch's device for tensors without numbers is none."""
    if text.startswith("meta"):
        raise argparse.ArgumentTypeError("meta computes nothing; use auto, cpu or cuda")
    return text


def main(argv=None) -> int:
    """Run the command line; returns the exit code."""
    forgive_characters()
    stopped = "stopped"
    os.environ["MATPLOTLIBRC"] = str(Path(__file__).with_name("draw") / "lorral.mplstyle")  # not the reader's own
    os.environ.pop("MPLBACKEND", None)
    try:
        options = vars(parser().parse_args(argv))
        stopped = options.pop("stopped")
        code = options.pop("function")(**options) or 0
    except SystemExit as end:  # --help; or words that are none of ours, which is said on standard error
        if drop_what_nobody_reads() and not end.code:
            end.code = READER_GONE
        raise
    except (ValueError, OSError) as error:  # DataError is a ValueError; file errors name their file
        if is_broken_pipe(error) and drop_what_nobody_reads(failed=True):
            return READER_GONE
        complain(error)
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not is_full_memory(error):
            raise
        complain(f"the memory is full ({error})")
        code = 2
    except KeyboardInterrupt:
        complain(stopped)
        code = 130
    if why := full_output():
        complain(f"standard output cannot be written ({why}); free some space there")
        code = code or 2
    return READER_GONE if drop_what_nobody_reads() and not code else code


if __name__ == "__main__":
    sys.exit(main())
