BEGIN TRANSACTION;
CREATE TABLE documents (
	name TEXT NOT NULL, 
	content TEXT NOT NULL, 
	changes BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "documents" VALUES('version','1',1);
INSERT INTO "documents" VALUES('created','',1);
INSERT INTO "documents" VALUES('settings','version = 2
output_dir = "renders"

[servers]
gpu1 = "http://10.0.0.11:8188"
',1);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	moment BIGINT NOT NULL, 
	item TEXT NOT NULL, 
	was TEXT, 
	becomes TEXT, 
	at DOUBLE NOT NULL, 
	writer TEXT NOT NULL, 
	lease BIGINT, 
	server TEXT, 
	prompt_id TEXT
);
INSERT INTO "events" VALUES(1,0,'completed',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(2,0,'failed',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(3,0,'cancelled',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(4,0,'submitted',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(5,0,'claimed',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(6,0,'due',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(7,0,'stage',NULL,'pending',1.79604416655355191229e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(8,0,'completed','pending','submitted',1.79604416656612610823e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,'s','id-completed');
INSERT INTO "events" VALUES(9,0,'completed','submitted','completed',1.79604416657120203974e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,'s','id-completed');
INSERT INTO "events" VALUES(10,0,'failed','pending','failed',1.79604416657677602763e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(11,0,'cancelled','pending','cancelled',1.79604416657886600491e+09,'9fb2225eb80141d2b559bed5c24abd71',NULL,NULL,NULL);
INSERT INTO "events" VALUES(12,0,'submitted','pending','submitted',1.79604416662006902694e+09,'9fb2225eb80141d2b559bed5c24abd71',1,'s','p1');
CREATE TABLE items (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"key" TEXT NOT NULL, 
	status TEXT NOT NULL, 
	batch TEXT, 
	number BIGINT NOT NULL, 
	recipe TEXT, 
	priority SMALLINT NOT NULL, 
	rank DOUBLE NOT NULL, 
	waits BOOLEAN NOT NULL, 
	has_stages BOOLEAN DEFAULT false NOT NULL, 
	server TEXT, 
	seconds DOUBLE, 
	completed_at BIGINT, 
	lease BIGINT, 
	record TEXT NOT NULL, 
	UNIQUE ("key")
);
INSERT INTO "items" VALUES(1,'completed','completed','b',0,'a9a17523cdf64844',2,0.0,0,0,'s',1.5,1767268800000000,NULL,'{"status": "completed", "subfolder": "", "filename": "completed.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 0, "prompt_id": "id-completed", "server": "s", "submitted_at": "2026-01-01T12:00:00Z", "completed_at": "2026-01-01T12:00:00Z", "seconds": 1.5, "outputs": [{"path": "EP01/a.png", "bytes": 5, "sha256": "abababababababababababababababababababababababababababababababab"}], "fingerprint": "f"}');
INSERT INTO "items" VALUES(2,'failed','failed','b',1,'a9a17523cdf64844',2,0.0,0,0,NULL,NULL,NULL,NULL,'{"status": "failed", "subfolder": "", "filename": "failed.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 1, "attempts": 1, "error": {"kind": "execution_error", "message": "out of luck"}, "past_attempts": [{"result": "failed", "ended_at": "2026-11-30T13:09:26.576585Z", "error": "execution_error"}]}');
INSERT INTO "items" VALUES(3,'cancelled','cancelled','b',2,'a9a17523cdf64844',2,0.0,0,0,NULL,NULL,NULL,NULL,'{"status": "cancelled", "subfolder": "", "filename": "cancelled.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 2}');
INSERT INTO "items" VALUES(4,'submitted','submitted','b',3,'a9a17523cdf64844',2,0.0,0,1,'s',NULL,NULL,1,'{"status": "submitted", "subfolder": "", "filename": "submitted.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 3, "prompt_id": "p1", "server": "s", "submitted_at": "2026-01-01T12:00:00Z", "fingerprint": "f"}');
INSERT INTO "items" VALUES(5,'claimed','pending','b',4,'a9a17523cdf64844',2,0.0,0,0,NULL,NULL,NULL,1,'{"status": "pending", "subfolder": "", "filename": "claimed.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 4}');
INSERT INTO "items" VALUES(6,'due','pending','b',5,'a9a17523cdf64844',2,0.0,0,0,NULL,NULL,NULL,NULL,'{"status": "pending", "subfolder": "", "filename": "due.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 5}');
INSERT INTO "items" VALUES(7,'stage','pending','b',9,NULL,2,0.0,1,0,NULL,NULL,NULL,NULL,'{"status": "pending", "subfolder": "", "filename": "", "uploads": {"image": {"item": "submitted", "output": 1}}, "batch": "b", "index": 9}');
CREATE TABLE leases (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	host TEXT NOT NULL, 
	boot_id TEXT NOT NULL, 
	pid BIGINT NOT NULL, 
	process TEXT NOT NULL, 
	renewed_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	holder TEXT, 
	clean BOOLEAN DEFAULT false NOT NULL, 
	live TEXT, 
	preview BLOB
);
INSERT INTO "leases" VALUES(1,'another-host','09ad1b7f-2ea9-41dc-b06a-22c34a355c5a',9863,'7352541',1.79604416658786702155e+09,1.79604422658786702163e+09,NULL,'{"host":"another-host","boot_id":"09ad1b7f-2ea9-41dc-b06a-22c34a355c5a","pid":9863,"burst":"killed","started_at":"2026-01-01T12:00:00Z","size":15,"run_started_at":"2026-01-01T12:00:00Z","waits_for":null}',0,NULL,NULL);
CREATE TABLE lines (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	kind TEXT NOT NULL, 
	line TEXT NOT NULL
);
INSERT INTO "lines" VALUES(1,'batch','{"line":"batch","batch":"b","created_at":"2026-01-01T12:00:00Z","total":7,"layout":"batch","directory":"b","recipe":"a9a17523cdf64844"}');
INSERT INTO "lines" VALUES(2,'fact','{"line":"client","server":"gpu1","client_id":"cccccccccccccccccccccccccccccccc","at":"2026-01-01T12:00:00Z"}');
INSERT INTO "lines" VALUES(3,'fact','{"line":"health","server":"gpu1","health":"well","at":"2026-01-01T12:00:00Z"}');
INSERT INTO "lines" VALUES(4,'burst','{"burst":"earlier","started_at":"2026-01-01T12:00:00Z","ended_at":"2026-01-01T12:00:00Z","ended":"done","size":15}');
CREATE TABLE recipes (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "recipes" VALUES(1,'a9a17523cdf64844','{"workflow":"3beed2b01fad2517a20d618f129164f3f1127d6a1f405c0319d236bfd6c97380","workflow_name":"a.json"}');
CREATE TABLE sources (
	source TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	PRIMARY KEY (source, stage)
);
INSERT INTO "sources" VALUES('submitted','stage');
CREATE TABLE workflows (
	digest TEXT NOT NULL, 
	graph TEXT NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "workflows" VALUES('3beed2b01fad2517a20d618f129164f3f1127d6a1f405c0319d236bfd6c97380','{"1":{"class_type":"EmptyImage","inputs":{"width":64}}}');
CREATE INDEX items_held ON items (lease) WHERE lease IS NOT NULL;
CREATE INDEX items_by_batch ON items (batch, number, "key");
CREATE INDEX items_due ON items (status, waits, priority, rank, seq);
CREATE INDEX sources_by_stage ON sources (stage);
CREATE INDEX events_by_moment ON events (moment, id);
CREATE INDEX lines_by_kind ON lines (kind, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('recipes',1);
INSERT INTO "sqlite_sequence" VALUES('items',7);
INSERT INTO "sqlite_sequence" VALUES('events',12);
INSERT INTO "sqlite_sequence" VALUES('lines',4);
INSERT INTO "sqlite_sequence" VALUES('leases',1);
COMMIT;
