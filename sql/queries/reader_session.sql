-- Everything that readers ask for lies along an index, some hundred rows of it. Planners that have no statistics of a
-- month yet, or find it small, would collect and sort all of a capture for every page, or read the whole month.
SET enable_bitmapscan = off;
SET enable_seqscan = off
