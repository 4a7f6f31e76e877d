"""``python -m sacbook``, the same as the console script ``sacbook``."""

from sacbook.workflow import main

if __name__ == "__main__":
    main()
