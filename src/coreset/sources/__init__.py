"""Foreign bytes -> pairs or rows.

`tars` reads webdataset shards as img2dataset writes them, `image_parquet` with `image_rows` Parquet files that
hold pictures.

From the bytes up: `bytestream` (plain or gzipped), `tar_headers`, `tar_members`, `samples` with `metadata`,
`tars`. Beside them `patterns` and `shards` (which files), `sidecars` (how many samples they should have),
`pairs` (what comes out), `pictures` (what a picture's bytes show).
"""
