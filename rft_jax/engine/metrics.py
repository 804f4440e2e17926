"""What Prometheus sees. The server, the engine and the learner write into one `Metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rft_jax.engine.protocol import Engine
from rft_jax.feedback.ids import now_us
from rft_jax.feedback.records import GLOBAL
from rft_jax.feedback.store import Store

FAST = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SLOW = (0.25, 0.5, 1, 2, 3, 5, 8, 15, 30, 60, 120, 300)

RATED = 20  # versions and arms whose thumbs are told: each is a series of its own


class Metrics:
  """Attributes are the metrics; dashboards rely on the names."""

  def __init__(self):
    self.registry = r = CollectorRegistry()
    histogram = lambda name, what, labels=(), buckets=FAST: Histogram(
      name, what, labels, registry=r, buckets=buckets
    )
    gauge = lambda name, what, labels=(): Gauge(name, what, labels, registry=r)
    counter = lambda name, what, labels=(): Counter(name, what, labels, registry=r)
    self.feedback = counter('rft_feedback_total', 'Feedback kept', ('kind', 'gate'))
    self.ack = histogram('rft_feedback_ack_seconds', 'Until feedback was durable')
    self.to_served = histogram(
      'rft_feedback_to_served_seconds', 'Until answers came from it', ('scope',), SLOW
    )
    self.pending = gauge('rft_pending_events', 'Feedback that waits')
    self.oldest = gauge('rft_oldest_pending_seconds', 'Age of the oldest that waits')
    self.train_step = histogram('rft_train_step_seconds', 'Of one update', (), SLOW)
    self.rehearsal = histogram('rft_rehearsal_seconds', 'Of trying a personal candidate')
    self.kl = gauge('rft_kl_ref', 'KL to the reference', ('scope',))
    self.canary_fail = counter('rft_canary_fail_total', 'Candidates refused')
    self.rollback = counter('rft_rollback_total', 'Rollbacks')
    self.version = gauge('rft_version', 'Live version', ('scope',))
    self.satisfaction = gauge('rft_satisfaction', 'Share of thumbs up', ('version', 'arm'))
    self.ttft = histogram('rft_ttft_seconds', 'Until the first piece', (), (*FAST, 5, 10, 30))
    self.itl = histogram('rft_itl_seconds', 'Between tokens', ('training',))
    self.slots_busy = gauge('rft_slots_busy', 'Answers being written')
    self.errors = counter('rft_generation_errors_total', 'Answers that failed')
    self.adapter_rows = gauge('rft_adapter_rows', 'Adapters on the device', ('state',))
    self.backup = gauge('rft_last_backup_timestamp_seconds', 'When the store was last copied')
    self.store_healthy = gauge('rft_store_healthy', 'Whether the last commit succeeded')

  def page(self, store: Store, engine: Engine) -> bytes:
    """The text format; what the store knows is asked now. Users' scopes are not labels: there may
    be thousands."""
    waiting = store.ledger.backlog()
    self.pending.set(waiting.events)
    oldest = waiting.oldest_us
    self.oldest.set(0 if oldest is None else (now_us() - oldest) / 1e6)
    state = store.versions.state(GLOBAL)
    self.version.labels(GLOBAL).set(state.live_version)
    self.kl.labels(GLOBAL).set(state.kl_to_ref)
    self.satisfaction.clear()
    for row in store.samples.satisfaction(RATED):
      self.satisfaction.labels(row['version'], row['arm']).set(row['up'] / row['n'])
    self.slots_busy.set(engine.slots_busy)
    self.store_healthy.set(store.healthy)
    return generate_latest(self.registry)
