"""How long things take, beside the tools that people would otherwise use.

`script/bench` prints a table. A row is a module in `rows`: what is done, by
which sides, and the ratio to reach. The sides of a row take turns, so that a machine that has other
things to do is unfair to none; what is told is the median of each.
"""
