"""The tables of the store and how a database of an earlier version becomes one of this version.

An event is a fact, so its row never changes: what is decided about it later (gates, replacement,
application) is in tables of its own, and triggers refuse anything else.
"""

import sqlite3

from rft_jax.feedback.counters import COUNTERS
from rft_jax.registry import UserError

TABLES = """
CREATE TABLE user (
  id TEXT PRIMARY KEY, display TEXT NOT NULL, staff INTEGER NOT NULL,
  trust_a REAL NOT NULL, trust_b REAL NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'muted', 'blocked')),
  share_global INTEGER NOT NULL, created_us INTEGER NOT NULL, deleted_us INTEGER
) STRICT;
CREATE TABLE api_key (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user, sha256 TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL, created_us INTEGER NOT NULL, revoked_us INTEGER, last_used_us INTEGER
) STRICT;
CREATE TABLE conversation (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user, title TEXT NOT NULL,
  system_prompt TEXT NOT NULL, created_us INTEGER NOT NULL, deleted_us INTEGER
) STRICT;
CREATE INDEX conversation_by_user ON conversation (user_id);
CREATE TABLE message (
  id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL REFERENCES conversation,
  parent_id TEXT REFERENCES message, role TEXT NOT NULL, content TEXT NOT NULL,
  branch_idx INTEGER NOT NULL, created_us INTEGER NOT NULL
) STRICT;
CREATE INDEX message_by_conversation ON message (conversation_id, parent_id);
CREATE INDEX message_by_parent ON message (parent_id);
CREATE TABLE generation (
  message_id TEXT PRIMARY KEY REFERENCES message, request_id TEXT NOT NULL,
  global_version INTEGER NOT NULL, adapter_user TEXT, personal_version INTEGER NOT NULL,
  prompt_ids BLOB NOT NULL, completion_ids BLOB NOT NULL, logp BLOB NOT NULL, versions BLOB,
  temperature REAL NOT NULL, top_p REAL NOT NULL, top_k INTEGER NOT NULL, seed INTEGER NOT NULL,
  finish_reason TEXT NOT NULL, pair_group TEXT, pair_side TEXT,
  ttft_us INTEGER NOT NULL, total_us INTEGER NOT NULL
) STRICT;

CREATE TABLE feedback_event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, payload_sha256 TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES user, message_id TEXT NOT NULL REFERENCES message,
  other_message_id TEXT REFERENCES message, kind TEXT NOT NULL, value_json TEXT NOT NULL,
  comment TEXT NOT NULL, tags_json TEXT NOT NULL, source TEXT NOT NULL,
  recv_us INTEGER NOT NULL, durable_us INTEGER NOT NULL, shown_ms INTEGER,
  intent TEXT NOT NULL, direction TEXT NOT NULL, origin TEXT,
  global_version INTEGER NOT NULL, personal_version INTEGER NOT NULL
) STRICT;
CREATE INDEX event_by_user ON feedback_event (user_id, message_id, kind);
CREATE INDEX event_by_message ON feedback_event (message_id);
CREATE INDEX event_by_intent ON feedback_event (intent, direction);
CREATE TABLE replaced (
  event_seq INTEGER PRIMARY KEY REFERENCES feedback_event,
  by_seq INTEGER NOT NULL REFERENCES feedback_event,
  how TEXT NOT NULL CHECK (how IN ('superseded', 'retracted'))
) STRICT;
CREATE TABLE event_gate (
  event_seq INTEGER NOT NULL REFERENCES feedback_event, scope TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('ok', 'held', 'quarantined', 'rejected', 'rolled_back')),
  reasons_json TEXT NOT NULL, weight REAL NOT NULL, ref_logp REAL, decided_us INTEGER NOT NULL,
  PRIMARY KEY (event_seq, scope)
) STRICT;
CREATE INDEX gate_by_scope ON event_gate (scope, state);
CREATE TABLE pending_target (
  id TEXT PRIMARY KEY, payload_sha256 TEXT NOT NULL, payload_json TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES user, source TEXT NOT NULL, origin TEXT,
  recv_us INTEGER NOT NULL, deadline_us INTEGER NOT NULL, rejected TEXT
) STRICT;

CREATE TABLE scope_state (
  scope TEXT PRIMARY KEY, live_version INTEGER NOT NULL, frozen INTEGER NOT NULL,
  kl_to_ref REAL NOT NULL, n_events INTEGER NOT NULL
) STRICT;
CREATE TABLE train_batch (
  id TEXT PRIMARY KEY, scope TEXT NOT NULL REFERENCES scope_state,
  parent_version INTEGER NOT NULL, version INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('claimed', 'applied', 'rejected', 'abandoned')),
  rng_seed INTEGER NOT NULL, config_sha TEXT NOT NULL,
  claimed_us INTEGER NOT NULL, done_us INTEGER, reason TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_claim_per_scope ON train_batch (scope) WHERE status = 'claimed';
CREATE TABLE train_item (
  batch_id TEXT NOT NULL REFERENCES train_batch,
  event_seq INTEGER NOT NULL REFERENCES feedback_event,
  role TEXT NOT NULL CHECK (role IN ('new', 'replay')), weight REAL NOT NULL,
  PRIMARY KEY (batch_id, event_seq)
) STRICT;
CREATE INDEX item_by_event ON train_item (event_seq);
CREATE TABLE model_version (
  scope TEXT NOT NULL REFERENCES scope_state, version INTEGER NOT NULL, parent INTEGER NOT NULL,
  batch_id TEXT NOT NULL UNIQUE REFERENCES train_batch, path TEXT NOT NULL, sha256 TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('canary', 'live', 'retired', 'rolled_back')),
  metrics_json TEXT NOT NULL, created_us INTEGER NOT NULL,
  published_us INTEGER, first_served_us INTEGER, PRIMARY KEY (scope, version)
) STRICT;
CREATE TABLE applied (
  event_seq INTEGER NOT NULL REFERENCES feedback_event, scope TEXT NOT NULL,
  version INTEGER NOT NULL, PRIMARY KEY (event_seq, scope),
  FOREIGN KEY (scope, version) REFERENCES model_version
) STRICT;
CREATE INDEX applied_by_version ON applied (scope, version);
CREATE TABLE canary_result (
  scope TEXT NOT NULL, version INTEGER NOT NULL, probe TEXT NOT NULL, passed INTEGER NOT NULL,
  detail_json TEXT NOT NULL, created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, actor TEXT NOT NULL, action TEXT NOT NULL,
  detail_json TEXT NOT NULL, created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE metric_sample (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, value REAL NOT NULL,
  labels_json TEXT NOT NULL, created_us INTEGER NOT NULL
) STRICT;
CREATE INDEX sample_by_name ON metric_sample (name, seq);

CREATE VIEW feedback_current AS
  SELECT * FROM feedback_event
  WHERE kind != 'retract' AND seq NOT IN (SELECT event_seq FROM replaced);
"""

# Erasing a user empties what the user wrote; nothing else may ever touch an event.
TRIGGERS = """
CREATE TRIGGER event_stays BEFORE DELETE ON feedback_event
BEGIN SELECT RAISE(ABORT, 'feedback_event is append-only'); END;
CREATE TRIGGER event_is_fixed BEFORE UPDATE OF seq, id, payload_sha256, user_id, message_id,
  other_message_id, kind, source, recv_us, durable_us, shown_ms, intent, direction, origin,
  global_version, personal_version ON feedback_event
BEGIN SELECT RAISE(ABORT, 'feedback_event is append-only'); END;
CREATE TRIGGER event_words_are_fixed BEFORE UPDATE OF value_json, comment, tags_json
  ON feedback_event WHEN NEW.value_json != '{}' OR NEW.comment != '' OR NEW.tags_json != '[]'
  OR (SELECT deleted_us FROM user WHERE id = OLD.user_id) IS NULL
BEGIN SELECT RAISE(ABORT, 'feedback_event is append-only'); END;
CREATE TRIGGER replacement_stays BEFORE DELETE ON replaced
BEGIN SELECT RAISE(ABORT, 'replaced is append-only'); END;
CREATE TRIGGER replacement_is_fixed BEFORE UPDATE ON replaced
BEGIN SELECT RAISE(ABORT, 'replaced is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER samples_are_a_ring AFTER INSERT ON metric_sample
BEGIN DELETE FROM metric_sample WHERE seq <= NEW.seq - 20000; END;
"""
# A personal adapter is learned over a global one: which, is part of what a batch is.
BASES = 'ALTER TABLE train_batch ADD COLUMN base_version INTEGER NOT NULL DEFAULT 0;'
DROPPED = 'ALTER TABLE generation ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;'
# People behind the key of an application, by the names that it gives them.
END_USERS = """
CREATE TABLE end_user (
  owner_id TEXT NOT NULL REFERENCES user, name TEXT NOT NULL,
  user_id TEXT NOT NULL UNIQUE REFERENCES user, PRIMARY KEY (owner_id, name)
) STRICT, WITHOUT ROWID;
"""
# What people want of everyone's model (wish), who stands for it (supporter), what that says of an
# answer (stance), and what it has told about the judgement of whom (evidence). People are told
# apart by when they spoke last, from which blocks of addresses, and whether a key is their own.
# Events of before are filed likewise at the next start (unfiled): only then their keys may change.
AGREEMENT = """
ALTER TABLE user ADD COLUMN keyed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN spoke_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN origin TEXT;
ALTER TABLE train_item ADD COLUMN text_only INTEGER NOT NULL DEFAULT 0;
CREATE INDEX user_by_speech ON user (spoke_us);
CREATE TABLE user_origin (
  user_id TEXT NOT NULL REFERENCES user, origin TEXT NOT NULL, last_us INTEGER NOT NULL,
  PRIMARY KEY (user_id, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE wish (
  id INTEGER PRIMARY KEY, intent TEXT NOT NULL, direction TEXT NOT NULL, kind TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('held', 'accepted', 'quarantined', 'rejected')),
  waiting INTEGER NOT NULL DEFAULT 0, enough INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, accepted_us INTEGER,
  UNIQUE (intent, direction)
) STRICT;
CREATE INDEX wish_by_state ON wish (state, id);
CREATE INDEX wish_of_several ON wish (id) WHERE state = 'held' AND waiting > 1;
CREATE TABLE supporter (
  wish_id INTEGER NOT NULL REFERENCES wish, created_us INTEGER NOT NULL,
  user_id TEXT NOT NULL REFERENCES user, event_seq INTEGER NOT NULL REFERENCES feedback_event,
  form TEXT NOT NULL, raises TEXT NOT NULL, lowers TEXT NOT NULL,
  PRIMARY KEY (wish_id, created_us, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX supporter_by_event ON supporter (event_seq);
CREATE TABLE stance (
  intent TEXT NOT NULL, answer TEXT NOT NULL, sign INTEGER NOT NULL, created_us INTEGER NOT NULL,
  user_id TEXT NOT NULL REFERENCES user, event_seq INTEGER NOT NULL REFERENCES feedback_event,
  PRIMARY KEY (intent, answer, sign, created_us, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE evidence (
  user_id TEXT NOT NULL REFERENCES user, intent TEXT NOT NULL, right INTEGER NOT NULL,
  PRIMARY KEY (user_id, intent)
) STRICT, WITHOUT ROWID;
CREATE TABLE unfiled (event_seq INTEGER PRIMARY KEY REFERENCES feedback_event) STRICT;
INSERT INTO unfiled SELECT seq FROM feedback_event WHERE kind != 'retract';
INSERT INTO user_origin SELECT user_id, origin, max(recv_us) FROM feedback_event
  WHERE origin IS NOT NULL GROUP BY user_id, origin;
UPDATE user SET
  keyed = id IN (SELECT user_id FROM api_key WHERE revoked_us IS NULL),
  spoke_us = coalesce((SELECT max(recv_us) FROM feedback_event WHERE user_id = user.id), 0),
  origin = (SELECT o.origin FROM user_origin o WHERE o.user_id = user.id
    ORDER BY last_us DESC LIMIT 1);
DROP TRIGGER event_is_fixed;
CREATE TRIGGER event_is_fixed BEFORE UPDATE OF seq, id, payload_sha256, user_id, message_id,
  other_message_id, kind, source, recv_us, durable_us, shown_ms, origin,
  global_version, personal_version ON feedback_event
BEGIN SELECT RAISE(ABORT, 'feedback_event is append-only'); END;
CREATE TRIGGER event_key_is_fixed BEFORE UPDATE OF intent, direction ON feedback_event
  WHEN OLD.seq NOT IN (SELECT event_seq FROM unfiled)
BEGIN SELECT RAISE(ABORT, 'feedback_event is append-only'); END;
"""
# What a question was read with, and what an answer was sampled with besides.
READINGS = """
ALTER TABLE message ADD COLUMN raw INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN corrections TEXT NOT NULL DEFAULT '[]';
ALTER TABLE generation ADD COLUMN frequency_penalty REAL NOT NULL DEFAULT 0;
ALTER TABLE generation ADD COLUMN presence_penalty REAL NOT NULL DEFAULT 0;
ALTER TABLE generation ADD COLUMN logit_bias TEXT NOT NULL DEFAULT '{}';
"""
# How often everyone's model has tried and repeated what people agreed on (see `tries`), and what a
# try holds beside it: the batch keeps its own, so that the same can be learned again.
TRIES = """
ALTER TABLE wish ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wish ADD COLUMN held_json TEXT NOT NULL DEFAULT '[]';
ALTER TABLE wish ADD COLUMN unsaid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wish ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
CREATE INDEX wish_unsaid ON wish (id) WHERE unsaid;
ALTER TABLE train_batch ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE train_batch ADD COLUMN held_json TEXT NOT NULL DEFAULT '[]';
ALTER TABLE train_item ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
"""
# The script at index n leads from user_version n to n + 1.
MIGRATIONS = (TABLES + TRIGGERS, BASES, END_USERS, AGREEMENT, READINGS, COUNTERS, DROPPED, TRIES)


def migrate(connection: sqlite3.Connection):
  """Brings a database to this version, one transaction per step. UserError where it is newer."""
  version = connection.execute('PRAGMA user_version').fetchone()[0]
  if version > len(MIGRATIONS):
    raise UserError(
      f'the store has version {version}, this program knows {len(MIGRATIONS)}: use a newer rft_jax'
    )
  for number, script in list(enumerate(MIGRATIONS, 1))[version:]:
    connection.executescript(f'BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;')
