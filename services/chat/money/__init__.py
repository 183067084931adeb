"""What calls cost, what has been spent, and what may still be: whole billionths of a US dollar throughout.

An amount is exact or it is absent: where a price or a count is not known there is no cost, never a guess.
"""
