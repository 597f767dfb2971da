"""Action-unit scores: movements written down instead of filmed, played on any face, with their truth.

The way of a score: `notation` and `tables` read it, `performance` decides what moves in every frame, `playing` brings
that to a face's landmarks as a `modules.track.Track`, dense motion and frames, `truth` keeps all of it beside the clip,
and `clips` writes data sets of such clips.  `drawing` makes up scores, for sets of thousands.
"""
