"""`busi-kd convert boards FOLDER`: the result files in a folder become its README.md."""

import argparse
from pathlib import Path

from convert.boards import page, sent
from device import files

PAGE = "README.md"


def main(arguments: list[str]) -> int:
    """Read all files, write the page. Returns 0. Raises UserError for a file that is none of device bench."""
    parser = argparse.ArgumentParser(prog="busi-kd convert boards", description=__doc__.partition(": ")[2])
    parser.add_argument("folder", type=Path, help="of files that `busi-kd device bench --result` wrote")
    args = parser.parse_args(arguments)
    found = sent.read_all(args.folder)
    files.write_text(args.folder / PAGE, page.markdown(found, f"busi-kd convert boards {args.folder}"))
    rows = sum(len(one.rows) for one in found)
    print(f"{args.folder / PAGE}: {rows} rows of {len(found)} files.")
    return 0
