"""What became of a sample and why, for a person who asks.

```
explain     the answer for some keys or words: fate, ranks, component, chain
search      rows by words of their captions, and the nearest keys
standing    ranks and cut values          chain    the path that joins a duplicate to the kept row; graphs
told        the answer in lines           page     the answer as one HTML file
```
"""
