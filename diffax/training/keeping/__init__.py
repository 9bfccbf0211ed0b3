"""What keeps a run safe: a lock, checkpoints with checksums, a journal, a voice, signals.

A file each: `lock` (one training a folder), `checkpoint` (Orbax, in the background), `manifest`
(checksums), `parts` (a state by name), `frozen` (what is used but not trained), `journal`
(metrics.jsonl), `reading` (JSON of unknown origin), `workdir` (whose folder it is), `signals`
(being asked to stop), `voice` (what is only printed), `silence` (what Orbax says besides).
"""
