"""From shards to numbers: robust training on label noise. Reads `schemas`, never the pipeline, needs no Beam."""
