"""Foreign bytes -> pairs or rows. `tars` reads webdataset shards as img2dataset writes them.

From the bytes up: `bytestream` (plain or gzipped), `tar_headers`, `tar_members`, `samples` with `metadata`,
`tars`. Beside them `patterns` and `shards` (which tars), `sidecars` (how many samples they should have),
`pairs` (what comes out), `pictures` (what a picture's bytes show).
"""
