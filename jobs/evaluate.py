"""A checkpoint and a corpus to figures; options as of `emoray evaluate`.

`ray job submit --working-dir . -- python jobs/evaluate.py ...`
"""

from emoray.cli import main

if __name__ == "__main__":
    main("evaluate")
