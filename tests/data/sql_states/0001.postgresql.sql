CREATE TABLE public.documents (
    name text NOT NULL,
    content text NOT NULL,
    changes bigint NOT NULL
);
CREATE TABLE public.events (
    id bigint NOT NULL,
    moment bigint NOT NULL,
    item text NOT NULL,
    was text,
    becomes text,
    at double precision NOT NULL,
    writer text NOT NULL,
    lease bigint,
    server text,
    prompt_id text
);
CREATE SEQUENCE public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_id_seq OWNED BY public.events.id;
CREATE TABLE public.items (
    seq bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL,
    batch text,
    number bigint NOT NULL,
    recipe text,
    priority smallint NOT NULL,
    rank double precision NOT NULL,
    waits boolean NOT NULL,
    has_stages boolean DEFAULT false NOT NULL,
    server text,
    seconds double precision,
    completed_at bigint,
    lease bigint,
    record text NOT NULL
);
CREATE SEQUENCE public.items_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.items_seq_seq OWNED BY public.items.seq;
CREATE TABLE public.leases (
    id bigint NOT NULL,
    host text NOT NULL,
    boot_id text NOT NULL,
    pid bigint NOT NULL,
    process text NOT NULL,
    renewed_at double precision NOT NULL,
    expires_at double precision NOT NULL,
    ended_at double precision,
    holder text,
    clean boolean DEFAULT false NOT NULL,
    live text,
    preview bytea
);
CREATE SEQUENCE public.leases_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.leases_id_seq OWNED BY public.leases.id;
CREATE TABLE public.lines (
    id bigint NOT NULL,
    kind text NOT NULL,
    line text NOT NULL
);
CREATE SEQUENCE public.lines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.lines_id_seq OWNED BY public.lines.id;
CREATE TABLE public.recipes (
    seq bigint NOT NULL,
    id text NOT NULL,
    recipe text NOT NULL
);
CREATE SEQUENCE public.recipes_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.recipes_seq_seq OWNED BY public.recipes.seq;
CREATE TABLE public.sources (
    source text NOT NULL COLLATE pg_catalog."C",
    stage text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.workflows (
    digest text NOT NULL,
    graph text NOT NULL
);
ALTER TABLE ONLY public.events ALTER COLUMN id SET DEFAULT nextval('public.events_id_seq'::regclass);
ALTER TABLE ONLY public.items ALTER COLUMN seq SET DEFAULT nextval('public.items_seq_seq'::regclass);
ALTER TABLE ONLY public.leases ALTER COLUMN id SET DEFAULT nextval('public.leases_id_seq'::regclass);
ALTER TABLE ONLY public.lines ALTER COLUMN id SET DEFAULT nextval('public.lines_id_seq'::regclass);
ALTER TABLE ONLY public.recipes ALTER COLUMN seq SET DEFAULT nextval('public.recipes_seq_seq'::regclass);
INSERT INTO public.documents VALUES ('version', '1', 1);
INSERT INTO public.documents VALUES ('created', '', 1);
INSERT INTO public.documents VALUES ('settings', 'version = 2
output_dir = "renders"
[servers]
gpu1 = "http://10.0.0.11:8188"
', 1);
INSERT INTO public.events VALUES (1, 757, 'completed', NULL, 'pending', 1796044166.821964, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (2, 757, 'failed', NULL, 'pending', 1796044166.822372, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (3, 757, 'cancelled', NULL, 'pending', 1796044166.822422, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (4, 757, 'submitted', NULL, 'pending', 1796044166.822457, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (5, 757, 'claimed', NULL, 'pending', 1796044166.822863, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (6, 757, 'due', NULL, 'pending', 1796044166.822936, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (7, 757, 'stage', NULL, 'pending', 1796044166.822974, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (8, 758, 'completed', 'pending', 'submitted', 1796044166.84709, '6f8a1b1ea7e44682beee17f615463907', NULL, 's', 'id-completed');
INSERT INTO public.events VALUES (9, 759, 'completed', 'submitted', 'completed', 1796044166.854257, '6f8a1b1ea7e44682beee17f615463907', NULL, 's', 'id-completed');
INSERT INTO public.events VALUES (10, 760, 'failed', 'pending', 'failed', 1796044166.862073, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (11, 761, 'cancelled', 'pending', 'cancelled', 1796044166.880475, '6f8a1b1ea7e44682beee17f615463907', NULL, NULL, NULL);
INSERT INTO public.events VALUES (12, 766, 'submitted', 'pending', 'submitted', 1796044166.921099, '6f8a1b1ea7e44682beee17f615463907', 1, 's', 'p1');
INSERT INTO public.items VALUES (6, 'due', 'pending', 'b', 5, 'a9a17523cdf64844', 2, 0, false, false, NULL, NULL, NULL, NULL, '{"status": "pending", "subfolder": "", "filename": "due.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 5}');
INSERT INTO public.items VALUES (7, 'stage', 'pending', 'b', 9, NULL, 2, 0, true, false, NULL, NULL, NULL, NULL, '{"status": "pending", "subfolder": "", "filename": "", "uploads": {"image": {"item": "submitted", "output": 1}}, "batch": "b", "index": 9}');
INSERT INTO public.items VALUES (1, 'completed', 'completed', 'b', 0, 'a9a17523cdf64844', 2, 0, false, false, 's', 1.5, 1767268800000000, NULL, '{"status": "completed", "subfolder": "", "filename": "completed.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 0, "prompt_id": "id-completed", "server": "s", "submitted_at": "2026-01-01T12:00:00Z", "completed_at": "2026-01-01T12:00:00Z", "seconds": 1.5, "outputs": [{"path": "EP01/a.png", "bytes": 5, "sha256": "abababababababababababababababababababababababababababababababab"}], "fingerprint": "f"}');
INSERT INTO public.items VALUES (2, 'failed', 'failed', 'b', 1, 'a9a17523cdf64844', 2, 0, false, false, NULL, NULL, NULL, NULL, '{"status": "failed", "subfolder": "", "filename": "failed.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 1, "attempts": 1, "error": {"kind": "execution_error", "message": "out of luck"}, "past_attempts": [{"result": "failed", "ended_at": "2026-11-30T13:09:26.859910Z", "error": "execution_error"}]}');
INSERT INTO public.items VALUES (3, 'cancelled', 'cancelled', 'b', 2, 'a9a17523cdf64844', 2, 0, false, false, NULL, NULL, NULL, NULL, '{"status": "cancelled", "subfolder": "", "filename": "cancelled.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 2}');
INSERT INTO public.items VALUES (5, 'claimed', 'pending', 'b', 4, 'a9a17523cdf64844', 2, 0, false, false, NULL, NULL, NULL, 1, '{"status": "pending", "subfolder": "", "filename": "claimed.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 4}');
INSERT INTO public.items VALUES (4, 'submitted', 'submitted', 'b', 3, 'a9a17523cdf64844', 2, 0, false, true, 's', NULL, NULL, 1, '{"status": "submitted", "subfolder": "", "filename": "submitted.txt", "recipe": "a9a17523cdf64844", "batch": "b", "index": 3, "prompt_id": "p1", "server": "s", "submitted_at": "2026-01-01T12:00:00Z", "fingerprint": "f"}');
INSERT INTO public.leases VALUES (1, 'another-host', '09ad1b7f-2ea9-41dc-b06a-22c34a355c5a', 9863, '7352541', 1796044166.893465, 1796044226.893465, NULL, '{"host":"another-host","boot_id":"09ad1b7f-2ea9-41dc-b06a-22c34a355c5a","pid":9863,"burst":"killed","started_at":"2026-01-01T12:00:00Z","size":15,"run_started_at":"2026-01-01T12:00:00Z","waits_for":null}', false, NULL, NULL);
INSERT INTO public.lines VALUES (1, 'batch', '{"line":"batch","batch":"b","created_at":"2026-01-01T12:00:00Z","total":7,"layout":"batch","directory":"b","recipe":"a9a17523cdf64844"}');
INSERT INTO public.lines VALUES (2, 'fact', '{"line":"client","server":"gpu1","client_id":"cccccccccccccccccccccccccccccccc","at":"2026-01-01T12:00:00Z"}');
INSERT INTO public.lines VALUES (3, 'fact', '{"line":"health","server":"gpu1","health":"well","at":"2026-01-01T12:00:00Z"}');
INSERT INTO public.lines VALUES (4, 'burst', '{"burst":"earlier","started_at":"2026-01-01T12:00:00Z","ended_at":"2026-01-01T12:00:00Z","ended":"done","size":15}');
INSERT INTO public.recipes VALUES (1, 'a9a17523cdf64844', '{"workflow":"3beed2b01fad2517a20d618f129164f3f1127d6a1f405c0319d236bfd6c97380","workflow_name":"a.json"}');
INSERT INTO public.sources VALUES ('submitted', 'stage');
INSERT INTO public.workflows VALUES ('3beed2b01fad2517a20d618f129164f3f1127d6a1f405c0319d236bfd6c97380', '{"1":{"class_type":"EmptyImage","inputs":{"width":64}}}');
SELECT pg_catalog.setval('public.events_id_seq', 12, true);
SELECT pg_catalog.setval('public.items_seq_seq', 7, true);
SELECT pg_catalog.setval('public.leases_id_seq', 1, true);
SELECT pg_catalog.setval('public.lines_id_seq', 4, true);
SELECT pg_catalog.setval('public.recipes_seq_seq', 1, true);
ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_key_key UNIQUE (key);
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.lines
    ADD CONSTRAINT lines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.recipes
    ADD CONSTRAINT recipes_id_key UNIQUE (id);
ALTER TABLE ONLY public.recipes
    ADD CONSTRAINT recipes_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (source, stage);
ALTER TABLE ONLY public.workflows
    ADD CONSTRAINT workflows_pkey PRIMARY KEY (digest);
CREATE INDEX events_by_moment ON public.events USING btree (moment, id);
CREATE INDEX items_by_batch ON public.items USING btree (batch, number, key);
CREATE INDEX items_due ON public.items USING btree (priority, rank, seq) WHERE ((status = 'pending'::text) AND (NOT waits));
CREATE INDEX items_held ON public.items USING btree (lease) WHERE (lease IS NOT NULL);
CREATE INDEX lines_by_kind ON public.lines USING btree (kind, id);
CREATE INDEX sources_by_stage ON public.sources USING btree (stage);
