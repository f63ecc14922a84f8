"""A seed and an emotion to music; options as of `emoray generate`.

`ray job submit --working-dir . -- python jobs/generate.py ...`
"""

from emoray.cli import main

if __name__ == "__main__":
    main("generate")
