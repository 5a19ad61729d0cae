"""Pages for people, rendered here and usable without a script. They decide nothing."""
