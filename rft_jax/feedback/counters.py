"""What is counted while it happens, so that nobody who asks has to count: tables beside the facts,
kept by triggers in the transaction of each change, whoever makes it.

waiting       what a scope may learn and has not: the rows of the view `learnable`, by scope
backlog       how many of these a scope has; under '' all of them
taken_back    what a user's scope has learned and its author has taken back since
satisfaction  thumbs that count, by global version and arm (base: no adapter); t_us: of the first
author        events by user who is not erased
"""

TABLES = """
CREATE TABLE waiting (
  scope TEXT NOT NULL, event_seq INTEGER NOT NULL, PRIMARY KEY (scope, event_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_by_event ON waiting (event_seq);
CREATE TABLE backlog (scope TEXT PRIMARY KEY, events INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE taken_back (
  scope TEXT NOT NULL, event_seq INTEGER NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (scope, event_seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE satisfaction (
  version INTEGER NOT NULL, arm TEXT NOT NULL, t_us INTEGER NOT NULL, n INTEGER NOT NULL,
  up INTEGER NOT NULL, PRIMARY KEY (version, arm)
) STRICT, WITHOUT ROWID;
CREATE TABLE author (user_id TEXT PRIMARY KEY, events INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX author_by_events ON author (events, user_id);

CREATE VIEW learnable AS SELECT g.scope, g.event_seq
  FROM event_gate g JOIN feedback_event e ON e.seq = g.event_seq
  JOIN message m ON m.id = e.message_id JOIN conversation c ON c.id = m.conversation_id
  WHERE g.state = 'ok' AND c.deleted_us IS NULL
    AND NOT EXISTS (SELECT 1 FROM replaced r WHERE r.event_seq = e.seq)
    AND NOT EXISTS (SELECT 1 FROM applied a WHERE a.event_seq = e.seq AND a.scope = g.scope);
CREATE VIEW thumb AS SELECT e.seq, e.message_id, e.global_version AS version, e.recv_us AS t_us,
  CASE WHEN g.adapter_user IS NULL AND g.global_version = 0 THEN 'base' ELSE 'rft' END AS arm,
  coalesce(json_extract(e.value_json, '$.label'), 0) AS up
  FROM feedback_event e JOIN generation g ON g.message_id = e.message_id WHERE e.kind = 'binary';
"""

TRIGGERS = """
CREATE TRIGGER gate_opens AFTER INSERT ON event_gate WHEN NEW.state = 'ok'
BEGIN
  INSERT INTO waiting SELECT scope, event_seq FROM learnable
    WHERE event_seq = NEW.event_seq AND scope = NEW.scope;
END;
CREATE TRIGGER gate_moves AFTER UPDATE OF state ON event_gate WHEN NEW.state != OLD.state
BEGIN
  DELETE FROM waiting WHERE scope = NEW.scope AND event_seq = NEW.event_seq;
  INSERT INTO waiting SELECT scope, event_seq FROM learnable
    WHERE event_seq = NEW.event_seq AND scope = NEW.scope;
END;
CREATE TRIGGER event_replaced AFTER INSERT ON replaced
BEGIN
  DELETE FROM waiting WHERE event_seq = NEW.event_seq;
  INSERT INTO taken_back SELECT scope, event_seq, version FROM applied
    WHERE NEW.how = 'retracted' AND event_seq = NEW.event_seq AND scope != 'global';
  UPDATE satisfaction SET n = n - 1, up = satisfaction.up - t.up
    FROM (SELECT * FROM thumb WHERE seq = NEW.event_seq) AS t
    WHERE satisfaction.version = t.version AND satisfaction.arm = t.arm;
  DELETE FROM satisfaction WHERE n = 0
    AND version = (SELECT global_version FROM feedback_event WHERE seq = NEW.event_seq);
END;
CREATE TRIGGER event_applied AFTER INSERT ON applied
BEGIN
  DELETE FROM waiting WHERE scope = NEW.scope AND event_seq = NEW.event_seq;
  INSERT INTO taken_back SELECT NEW.scope, NEW.event_seq, NEW.version FROM replaced
    WHERE event_seq = NEW.event_seq AND how = 'retracted' AND NEW.scope != 'global';
END;
CREATE TRIGGER event_undone AFTER DELETE ON applied
BEGIN
  DELETE FROM taken_back WHERE scope = OLD.scope AND event_seq = OLD.event_seq;
  INSERT INTO waiting SELECT scope, event_seq FROM learnable
    WHERE event_seq = OLD.event_seq AND scope = OLD.scope;
END;
CREATE TRIGGER conversation_gone AFTER UPDATE OF deleted_us ON conversation
  WHEN NEW.deleted_us IS NOT NULL AND OLD.deleted_us IS NULL
BEGIN
  DELETE FROM waiting WHERE event_seq IN (SELECT e.seq FROM message m
    JOIN feedback_event e ON e.message_id = m.id WHERE m.conversation_id = NEW.id);
END;
CREATE TRIGGER waiting_grows AFTER INSERT ON waiting
BEGIN
  INSERT INTO backlog VALUES (NEW.scope, 1), ('', 1)
    ON CONFLICT (scope) DO UPDATE SET events = events + 1;
END;
CREATE TRIGGER waiting_shrinks AFTER DELETE ON waiting
BEGIN
  UPDATE backlog SET events = events - 1 WHERE scope IN (OLD.scope, '');
  DELETE FROM backlog WHERE scope = OLD.scope AND events = 0;
END;
CREATE TRIGGER event_counts AFTER INSERT ON feedback_event
BEGIN
  UPDATE author SET events = events + 1 WHERE user_id = NEW.user_id;
  INSERT INTO satisfaction SELECT version, arm, t_us, 1, up FROM thumb WHERE seq = NEW.seq
    ON CONFLICT (version, arm) DO UPDATE
      SET n = n + 1, up = up + excluded.up, t_us = min(t_us, excluded.t_us);
END;
CREATE TRIGGER answer_gone BEFORE DELETE ON generation
BEGIN
  UPDATE satisfaction SET n = satisfaction.n - t.n, up = satisfaction.up - t.up
    FROM (SELECT version, arm, count(*) AS n, sum(up) AS up FROM thumb
      WHERE message_id = OLD.message_id AND seq NOT IN (SELECT event_seq FROM replaced)
      GROUP BY version, arm) AS t
    WHERE satisfaction.version = t.version AND satisfaction.arm = t.arm;
  DELETE FROM satisfaction WHERE n = 0 AND version = OLD.global_version;
END;
CREATE TRIGGER user_comes AFTER INSERT ON user
BEGIN INSERT INTO author VALUES (NEW.id, 0); END;
CREATE TRIGGER user_goes AFTER UPDATE OF deleted_us ON user WHEN NEW.deleted_us IS NOT NULL
BEGIN DELETE FROM author WHERE user_id = NEW.id; END;
"""

# What there is already, in a store of an earlier version.
FILL = """
INSERT INTO waiting SELECT scope, event_seq FROM learnable;
INSERT INTO backlog SELECT scope, count(*) FROM waiting GROUP BY scope;
INSERT INTO backlog SELECT '', count(*) FROM waiting;
INSERT INTO taken_back SELECT a.scope, a.event_seq, a.version
  FROM applied a JOIN replaced r ON r.event_seq = a.event_seq
  WHERE r.how = 'retracted' AND a.scope != 'global';
INSERT INTO satisfaction SELECT version, arm, min(t_us), count(*), sum(up) FROM thumb
  WHERE seq NOT IN (SELECT event_seq FROM replaced) GROUP BY version, arm;
INSERT INTO author SELECT u.id, count(e.seq) FROM user u
  LEFT JOIN feedback_event e ON e.user_id = u.id WHERE u.deleted_us IS NULL GROUP BY u.id;
"""

# For questions whose answer is short, however long the table is.
INDEXES = """
CREATE INDEX event_by_author ON feedback_event (user_id);
CREATE INDEX rating_by_author ON feedback_event (user_id) WHERE kind = 'rating';
CREATE INDEX thumb_by_version ON feedback_event (global_version, recv_us) WHERE kind = 'binary';
CREATE INDEX target_awaited ON pending_target (recv_us, id) WHERE rejected IS NULL;
CREATE INDEX conversation_by_time ON conversation (user_id, created_us, id)
  WHERE deleted_us IS NULL;
CREATE INDEX user_by_display ON user (display, id);
CREATE INDEX version_by_time ON model_version (scope, created_us);
CREATE INDEX version_by_parent ON model_version (scope, parent);
CREATE INDEX version_live ON model_version (scope) WHERE status = 'live';
CREATE INDEX version_on_trial ON model_version (scope) WHERE status = 'canary';
CREATE INDEX version_unserved ON model_version (scope, version) WHERE first_served_us IS NULL;
"""
COUNTERS = TABLES + INDEXES + FILL + TRIGGERS
