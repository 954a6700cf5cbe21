"""``python -m benchmarks NAME``, from the repository's root: exit code 2 for what cannot be measured."""

import argparse
import sys

from lorral_lite.device import share_cores

share_cores()  # before torch is imported

from benchmarks import BENCHMARKS, bench  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed, memory and difficulty.",
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="\n".join(f"  {name:12}{what}" for name, what in BENCHMARKS.items()))
    parser.add_argument("name", metavar="NAME", choices=list(BENCHMARKS), help="one of those below")
    parser.add_argument("--out", default=None, metavar="FILE.json", help="keep the tables here too")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1 … (default: a GPU when there is one)")
    parser.add_argument("--tiny", action="store_true", help="the smallest setting that runs; its numbers say nothing")
    parser.add_argument("--compare", default=None, metavar="RUN",
                        help="step2: train step 2 of this run on cached features and to the letter, evaluate both")
    parser.add_argument("--keep", default=None, metavar="FOLDER",
                        help="deviations: keep the trainings here, and do not do again what is done there")
    args = parser.parse_args(arguments)
    try:
        if args.compare and args.name != "step2":
            raise ValueError("--compare goes with step2 only")
        if args.keep and args.name != "deviations":
            raise ValueError("--keep goes with deviations only")
        options = {key: value for key in ("compare", "keep") if (value := getattr(args, key)) is not None}
        bench(args.name, args.out, args.device, args.tiny, **options)
    except (ValueError, OSError) as error:  # a DataError is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
