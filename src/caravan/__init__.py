"""caravan: which instruction data, in what shares, how clean, and did it help?"""

__version__ = "0.1.0"
