"""Arrays in, arrays out: similarity, components, centroids, ranks. No paths, logs or clocks."""
