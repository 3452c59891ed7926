-- Everything lies along an index; statements are the same for every capture, so they are planned once. A plan that is
-- kept must suit the largest capture.
SET enable_bitmapscan = off;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan
