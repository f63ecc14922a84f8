"""A corpus to a checkpoint; options as of `emoray train`.

`ray job submit --working-dir . -- python jobs/train.py ...`
"""

from emoray.cli import main

if __name__ == "__main__":
    main("train")
