-- Writers wait until the rebuild commits; readers see the old tables until then.
LOCK TABLE meeta.captures, meeta.meetings, meeta.visits, meeta.gaps IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM meeta.gaps;
DELETE FROM meeta.visits;
DELETE FROM meeta.meetings;
DELETE FROM meeta.captures;
