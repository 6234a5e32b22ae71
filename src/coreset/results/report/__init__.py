"""One page that shows what was kept, what was thrown away and why, and every number of it as JSON.

```
report      the order of it all           numbers    every number of the page, as one value
passed      the one pass over all rows    curve      what other thresholds keep
members     components to be shown        pictures   small pictures within a budget
page        the page; page_lines, page_words and page_plots make what stands in it
plots       figures, by matplotlib        own_svg    the only markup that is not escaped: our own
```
"""
