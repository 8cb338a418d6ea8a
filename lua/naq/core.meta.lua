---@meta naq.core
-- The C core as Lua sees it. Expected failures return `nil, message, code`; misuse (a wrong type, a
-- closed handle) raises. Functions marked [blocks] wait for the network on the calling thread.

---@class naq.core
---@field VERSION string
---@field null userdata       cjson.null as well
---@field codes string[]      every code name the core can return
local core = {}

-- values ------------------------------------------------------------------------------------------
--- A Lua value as JSON text, exactly: 64-bit integers, doubles that round-trip, 1 and 1.0 apart on 5.4.
--- Refused with the path of the offending value: invalid UTF-8, NaN and infinities, functions,
--- userdata, threads, cycles, depth over 128, tables with mixed, sparse or non-string keys.
---@return string? json, string? message, string? code  SERIALIZATION
function core.encode(value) end
--- The inverse. JSON null is core.null; empty objects {} and arrays [] stay apart (arrays are marked).
---@return any value, string? message, string? code  SERIALIZATION
function core.decode(text) end
--- Mark a table as an array, so that an empty one is written as []. Returns it.
function core.array(t) end
--- The payload of one job: {"v":1,"job":name,"args":args,"enqueued_at":now, ...fields}.
---@param name string
---@param args any           nil: no args member
---@param fields? table      further members (policy given at enqueue)
---@return string? payload, string? message, string? code
function core.payload(name, args, fields) end
--- A dead letter taken apart. args, payload and payload_base64 stay text (JSON, base64), so that nothing
--- in them is changed; what this interpreter cannot hold of the rest is absent.
---@param text string  the letter, or a record that kept its payload
---@return {id: string?, queue: string?, priority: string?, reason: string?, failed_at: number?, error: table?, attempts: table[]?, attempts_cut: integer?, job: string?, args: string?, hop: integer?, attempt: integer?, result_ttl: number?, enqueued_at: number?, payload: string?, payload_base64: string?}? letter
---@return string? message, string? code  SERIALIZATION
function core.letter(text) end
--- What a record keeps of a job that is cancelled: members of a JSON object, without braces, at most so many
--- bytes. Nothing when they do not suffice, or the payload is none.
---@param payload string
---@param max number
---@return string? text
function core.keep(payload, max) end
--- The payload of a dead letter's job for a new round: one hop on, attempt 1, its history kept.
---@param text string
---@return string? payload, integer|string hop_or_message, string? code  UNDECODABLE, SERIALIZATION
function core.revive(text) end
--- The payload of a job for another time: one hop on, its attempt and its history as they are.
---@param payload string
---@return string? payload, integer|string hop_or_message, string? code  UNDECODABLE
function core.postpone(payload) end

-- small things ------------------------------------------------------------------------------------
function core.new_id() end              ---@return string id   time-ordered, 26 characters
function core.valid_id(s) end           ---@return boolean
function core.valid_traceparent(s) end  ---@return boolean  of W3C Trace Context
function core.now() end                 ---@return number       epoch seconds with a fraction
--- Tests only: set this process's idea of the wall clock ahead (or back) by so many seconds.
function core.shift_clock(seconds) end
function core.mono() end                ---@return number       monotonic seconds
function core.sleep(seconds) end        -- a handled signal ends it early
function core.isatty(fd) end            ---@return boolean
function core.hostname() end            ---@return string
function core.getpid() end              ---@return integer
function core.libnats_version() end     ---@return string
function core.cpu_count() end           ---@return integer
---@param opts {level: string?, format: "text"|"json"|nil, file: string?}  info, text, standard error
---@return boolean? ok, string? message, string? code  CONFIGURATION
function core.configure_log(opts) end
function core.log(level, text) end

--- When a cron expression matches: the first times after `after` (now), whole seconds since 1970. Fewer than
--- asked for when there are no more.
---@param expression string
---@param timezone? string  an IANA name; UTC
---@param after? number
---@param count? integer    1; at most 10000
---@return integer[]? times, string? message, string? code  INVALID, with the position of the fault
function core.cron_next(expression, timezone, after, count) end

-- processes (the command line and the specs) -------------------------------------------------------
--- Start a program: a process group of its own, standard input closed to it, no other files inherited,
--- signals as in a fresh process. stdout and stderr: nil (inherited) or a file path, appended to. env:
--- added to this process's environment, false removes. die_with_parent: killed when the thread that
--- started it ends; "TERM": asked to end.
---@param argv string[]
---@param opts? {stdout: string?, stderr: string?, env: table<string,string|false>?, cwd: string?, die_with_parent: boolean|"TERM"?}
---@return integer? pid, string? message, string? code  INVALID
function core.spawn(argv, opts) end
function core.exec(argv) end            -- replaces this process; returns only on failure
function core.kill(pid, signal) end     -- signal number or name without SIG; nil, message, code on failure
--- Wait for a child, without limit when seconds is nil. "running" when the time is over or a signal was
--- handled; else "exited", status or "signaled", signal. nil, message, INVALID for what is no child.
---@return "running"|"exited"|"signaled"|nil state, integer|string|nil status, string? code
function core.wait(pid, seconds) end
--- A free TCP port on 127.0.0.1, below the range of outgoing connections.
---@param low? integer   20000
---@param high? integer  32000
---@return integer? port, string? message, string? code
function core.free_port(low, high) end
function core.port_open(port, host) end ---@return boolean  something accepts there now
function core.mkdtemp(prefix) end       ---@return string path
function core.rmtree(path) end          -- removes a directory below the temporary folder; refuses others
--- Wait for SIGINT or SIGTERM: "INT", "TERM", or nil when the time is over (nil: no limit). Signals are
--- kept from the first call on until one is reported; the next one then acts as if nobody waited.
---@return "INT"|"TERM"|nil
function core.wait_signal(seconds) end
--- From now on SIGINT and SIGTERM end the process at once, also while it waits in C.
function core.default_signals() end
--- "64MB" -> 67108864 (KB, MB, GB, TB are powers of 1024); nil for what is no amount.
---@return number?
function core.bytes(text) end
--- Equal texts while no environment variable and none of these files has changed; nil when a file was
--- changed a moment ago, and may be again unseen.
---@param paths string[]
---@return string?
function core.surroundings(paths) end
function core.setenv(name, value) end   -- nil removes it
--- Overwrite a secret where it stands among this process's arguments, which anybody can list.
---@param text string
function core.hide_argument(text) end

-- connections -------------------------------------------------------------------------------------
---@class naq.ConnectOptions   all optional
---@field servers string[]|string  nats://[user:password@]host:port
---@field name string client_name
---@field user string
---@field password string
---@field token string
---@field creds_file string
---@field nkey_seed_file string
---@field tls {enabled: boolean?, ca_file: string?, cert_file: string?, key_file: string?, verify: boolean?}
---@field connection_timeout number seconds
---@field reconnect_time_wait number seconds
---@field max_reconnect_attempts integer
---@field ping_interval number
---@field max_outstanding_pings integer
---@field pool_size integer   connections at most with the same servers and credentials
--- [blocks] A handle on a shared, counted connection of the process-wide pool. Giving it back leaves the
--- connection open for the next.
---@return naq.CoreConn? conn, string? message, string? code
function core.connect(opts) end
--- [blocks] A connection of its own, opened, asked and closed: within `seconds` altogether, where given.
---@param seconds? number
---@return {connect_time: number, rtt: number, url: string}? timing, string? message, string? code
function core.test_connection(opts, seconds) end
--- The numbers of the pool: naq.ConnectionStats.
function core.connection_stats() end
--- [blocks a moment] Close connections under their handles, which answer CLOSED then.
---@param servers? string|string[]  nil: all
---@return integer closed
function core.close_connections(servers) end

---@class naq.CoreConn       all functions answer FORKED after a fork, CLOSED when the pool closed it
local conn = {}
function conn:close() end               -- idempotent; also __gc and __close
--- [blocks] {url, server_id, server_name, version, max_payload, rtt, cluster, cluster_size}; no secrets in url
function conn:info() end
function conn:max_payload() end         ---@return integer  of the server connected to last; asks nobody
function conn:url() end                 ---@return string?  of the server connected to, without secrets
function conn:status() end              ---@return "connected"|"reconnecting"|"closed"|nil status, string? m, string? code
function conn:flush(seconds) end        -- [blocks] true; CONNECTION: lost, and not back in time
function conn:rtt(seconds) end          ---@return number? seconds, string? message, string? code  [blocks]
--- {in_messages, in_bytes, out_messages, out_bytes, reconnects, disconnects, slow_consumers, lame_ducks, errors}
function conn:stats() end
--- The next event that this handle has not seen, see event_handlers.lua; nothing when there is none.
---@return string? event, string? message, number? time
function conn:next_event() end
---@param headers? table<string,string>
function conn:publish(subject, data, headers) end
--- [blocks] One request, one answer. NO responders: NO_JETSTREAM for $JS.* subjects, else CONNECTION.
---@return string? data, table|string|nil headers, string? code
function conn:request(subject, data, seconds, headers) end
--- [blocks] A request answered by several: collects answers until n came, one that contains `enough` came, or
--- the time is over.
---@return string[]? answers, string? message, string? code
function conn:request_many(subject, data, n, seconds, enough) end
--- [blocks] All streams and buckets of docs/wire.md: created where missing, checked where they exist.
--- failed_age (seconds) and failed_bytes are for the creation of the store of dead letters, and not checked.
---@param opts {prefix: string?, replicas: integer?, worker_ttl: number?, leader_ttl: number?, failed_age: number?, failed_bytes: integer?, dry_run: boolean?}
---@return {created: string[], differs: string[]}? layout, string? message, string? code  CONFIGURATION when one differs
function conn:ensure_layout(opts) end
--- [blocks] Publish and wait for JetStream's ack. With a msg_id it is sent again through a leader change or
--- a reconnect, for `seconds` (30) in all; without one never once it may have been stored.
---@param msg_id? string
---@param opts? {seconds: number?, expect_stream: string?, expect_last_seq: integer?, expect_last_subject_seq: integer?, expect_last_msg_id: string?, headers: table<string,string|string[]>?}
---@return integer? seq, boolean|string duplicate_or_message, string? code
---        WRONG_REVISION (10070, 10071), DUPLICATE (10077: one message a subject), STORAGE_FULL, TOO_LARGE,
---        CONFIGURATION (no stream), INVALID (subject, header), ...
function conn:js_publish(subject, data, msg_id, opts) end
--- Bytes that a job's payload may have here: less than the server takes, so that a dead letter of it
--- finds room.
function conn:max_job() end             ---@return integer
--- [blocks] Publish a list of jobs with a window of acks in flight. Entry: {name, args, opts}. Entries
--- without opts are built in C; for the others prepare(opts) returns queue, priority, id (or nil),
--- fields (or nil), due (or nil; epoch seconds: it goes to the delayed store), or nil, message, code to
--- refuse that entry. Where dues[opts] is a number, that is its time, and it is not prepared.
---@param defaults {prefix: string, queue: string, dues: table?}
---@return table? ids (false where refused), table|string errors {[i] = {code=, message=}}, string? code
function conn:enqueue_many(list, defaults, prepare) end
--- [blocks] Store a job until its time comes; a time that has passed is now. Repeated as js_publish is.
---@param due number       epoch seconds
---@param payload string   as core.payload() makes it
---@param hop? integer     0
---@param moved? boolean   by who may take it away again: no attempt of the job takes it for its own next hop
---@return integer? seq, string? message, string? code  DUPLICATE, INVALID, TOO_LARGE, STORAGE_FULL, ...
function conn:put_delayed(prefix, queue, priority, id, due, payload, hop, moved) end
--- [blocks] Key-value, one key. bucket without the KV_ prefix. direct: from any replica, not the leader.
--- seconds: how long to insist through a lost connection or leader, 30.
---@param direct? boolean
---@return string? value, integer|string revision_or_message, string? code  KEY_NOT_FOUND
function conn:kv_get(bucket, key, direct, seconds) end
function conn:kv_put(bucket, key, value, seconds) end      ---@return integer? revision, string? m, string? code
function conn:kv_create(bucket, key, value, seconds) end   -- KEY_EXISTS
function conn:kv_update(bucket, key, value, revision, seconds) end -- WRONG_REVISION
---@param revision? integer  only if the key still has it
---@return true? done, string? message, string? code  WRONG_REVISION
function conn:kv_delete(bucket, key, revision, seconds) end
function conn:kv_purge(bucket, key, revision, seconds) end          -- its history goes as well
--- [blocks] All keys that have a value and match (default ">"), in stream order; no values travel.
---@return string[]? keys, string? message, string? code
function conn:kv_keys(bucket, filter) end
--- [blocks] A watch of what matches (default ">"), see naq.kv_watcher. It holds the connection by itself.
---@param opts? {history: boolean?, updates_only: boolean?, ignore_deletes: boolean?, headers_only: boolean?}
---@return naq.CoreKVWatch? watch, string? message, string? code
function conn:kv_watch(bucket, filter, opts) end
---@class naq.CoreKVWatch
local kv_watch = {}
--- [blocks] The next event within so many seconds; 0: one that is here already.
---@return naq.KVEvent? event, string? message, string? code  TIMEOUT, CONFIGURATION, CLOSED
function kv_watch:next(seconds) end
function kv_watch:close() end           -- idempotent; also __gc and __close, which do not wait

--- [blocks] All live entries whose key matches (default ">"): {{key=, value=, revision=, created=}, ...}
function conn:kv_entries(bucket, filter) end
--- [blocks] The job's record, looked for in all result buckets at once.
---@return string? record, integer|string revision_or_message, string? bucket_or_code  JOB_NOT_FOUND
function conn:find_record(prefix, id) end
--- [blocks] Wait until the job has a terminal record (or, with result_ttl 0, until its end is told).
---@return string? record, string? message, string? code  TIMEOUT
function conn:wait_record(prefix, id, seconds) end
--- [blocks] The last stored message whose subject matches: data, {subject=, seq=, time=, headers={}}; KEY_NOT_FOUND
function conn:last_msg(stream, subject) end
--- [blocks] A stored message: by its sequence, the last of a subject, or (both given) the next whose subject
--- matches from that sequence on: {stream, subject, data, headers, seq, timestamp}; KEY_NOT_FOUND
---@param seq? integer
---@param subject? string
---@return table? message, string? m, string? code
function conn:get_msg(stream, seq, subject) end
--- [blocks a moment] A subscription. With a dispatcher its messages go there, under `id`.
---@param opts? {queue: string?, max_messages: integer?, max_bytes: integer?, limit: integer?, id: integer?}
---@param dispatcher? naq.CoreDispatcher
---@return naq.CoreSub? sub, string? message, string? code  INVALID, PERMISSION, CONNECTION
function conn:subscribe(subject, opts, dispatcher) end
---@return naq.CoreDispatcher? dispatcher, string? message, string? code  FORKED
function conn:dispatcher() end
--- Batches of a pull consumer.
---@return naq.CoreFetcher? fetcher, string? message, string? code  INVALID: no such name can be
function conn:fetcher(stream, consumer) end
--- Publishing into streams with acks in flight.
---@param opts? {max_in_flight: integer?, seconds: number?}  4096, 30
---@return naq.CoreWindow? window, string? message, string? code
function conn:window(opts) end

--- Handles of their own on the connection: valid after it was closed or collected, until closed themselves.
--- close() is idempotent; also __gc and __close; any other use of a closed one raises.
--- A message: {subject, data, headers, reply?}, of a consumer also {stream, consumer, seq, consumer_seq,
--- delivered, pending, timestamp}.
---@class naq.CoreSub
local sub = {}
function sub:close() end
--- [blocks] Without seconds: no limit.
---@return table? message, string? m, string? code  TIMEOUT; CLOSED: it has ended; PERMISSION; CONNECTION
function sub:next(seconds) end
function sub:limit(n) end               ---@return true? done, string? m, string? code  ends after n in all
function sub:drain(seconds) end         ---@return true? done, string? m, string? code  CONNECTION: lost, not back in time
function sub:stats() end                ---@return {delivered: integer, dropped: integer, messages: integer, bytes: integer, active: boolean}
---@class naq.CoreDispatcher
local dispatcher = {}
function dispatcher:close() end
function dispatcher:wait(seconds) end   ---@return integer waiting  [blocks] until a message, an event, or the time
function dispatcher:take() end          ---@return integer? id, table? message
---@class naq.CoreFetcher
local fetcher = {}
function fetcher:close() end
--- [blocks] Up to n; as soon as there is one, those that the server has at hand.
---@return table[]? messages, string? m, string? code  KEY_NOT_FOUND, CONNECTION, TIMEOUT, PERMISSION, ...
function fetcher:fetch(n, seconds) end
---@class naq.CoreWindow
local window = {}
function window:close() end
--- [blocks while the window is full]
---@return integer? number, string? m, string? code
function window:publish(subject, data, msg_id, opts) end
--- [blocks] Until all are acked or refused, or the time is over.
---@return integer? stored, integer|string duplicates_or_message, table|string refused_or_code  {[number] = {code=, message=}}
function window:await(seconds) end
--- [blocks] A page of a stream (no work queue) in its order: messages whose subject matches, from a
--- sequence or a time on, at most `limit` of them or `bytes` and one.
---@param opts {filter: string?, from: integer?, since: number?, limit: integer?, bytes: integer?}
---@return {subject: string, data: string, seq: integer, time: number}[]? messages
---@return integer|string|nil next_or_message  where the next page begins, nil when there is none
---@return string? code  KEY_NOT_FOUND: no such stream
function conn:browse(stream, opts) end

-- workers (Lua 5.4 only) ----------------------------------------------------------------------------
---@class naq.CoreWorkerOptions
---@field connect naq.ConnectOptions
---@field prefix string
---@field queues string[]
---@field threads integer
---@field name string?           worker name; the id is <name or host>-<pid>-<6 hex digits>
---@field runner string          JSON for runner.open(): {files, dirs, config, policies}
---@field result_ttl number      seconds, where neither the payload nor the job says
---@field failed_age number?     of the store of dead letters, as in ensure_layout
---@field failed_bytes integer?
---@field ack_wait number        seconds, for consumers that do not exist yet
---@field settings table<string, {ack_wait: number?, concurrency: integer?, rate: number?, paused: boolean?}>?
---  what the configuration says of single queues; rate: jobs a second
---@field heartbeat_interval number
---@field ttl number
---@field max_crashes integer
---@field shutdown_timeout number
---@field scheduler boolean?     run one beside the jobs (true)
---@field lock_ttl number?       seconds, of its lease
---@field burst boolean?
---@field max_jobs integer?
---@field handle_signals boolean? SIGINT and SIGTERM drain, a second one cuts off; SIGHUP reloads, SIGTSTP quiets, SIGCONT goes on
--- [blocks] Opens everything a worker needs, loads the job files in every state.
---@return naq.CoreWorker? worker, string? message, string? code
function core.worker(opts) end
--- The .lua files below a directory, relative to it, sorted.
---@return string[]? paths, string? message, string? code
function core.lua_files(dir) end
---@class naq.CoreSchedulerOptions
---@field connect naq.ConnectOptions
---@field prefix string?
---@field id string?
---@field lock_ttl number?    seconds, of the lease (5)
---@field alone boolean?      NOT_LEADER while another leads
---@field stragglers number?  seconds between two looks for jobs in closed buckets (3600)
---@field ttl number?         of the workers' bucket; this and the next two for the creation of the layout
---@field failed_age number?
---@field failed_bytes integer?
--- [blocks] Start a scheduler on a thread of its own.
---@param opts naq.CoreSchedulerOptions
---@return naq.CoreScheduler? scheduler, string? message, string? code
function core.scheduler(opts) end
---@class naq.CoreScheduler
local scheduler = {}
function scheduler:close() end          -- [blocks a moment] hands over; idempotent; also __gc and __close
function scheduler:leads() end          ---@return boolean
function scheduler:id() end             ---@return string
---@class naq.CoreWorker
local worker = {}
--- [blocks] Serves until stopped. {done=, failed=, retried=, stopped="signal"|"burst"|"max_jobs"|"stop"|"killed"}
--- nil, message, "JOB_STUCK" when it drained because four threads hang in jobs that cannot be stopped.
function worker:run() end
function worker:stop() end              -- from another thread's state or a callback: begin to drain
function worker:close() end

return core
