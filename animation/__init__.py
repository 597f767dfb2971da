"""One pair while it moves, and what is left of it: results, manifests, labelled sets, exported networks."""
