"""Speed beside a yardstick that runs in the same process and takes turns with what is measured."""
