package work

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/atomicfile"
)

// Queue says where tasks wait. Credentials are no settings, which are written to files and logs: a token is the
// environment variable VITFT_QUEUE_TOKEN.
type Queue struct {
	URL  string // "embedded", "serve:HOST:PORT" or "nats://HOST:PORT,HOST:PORT,…"
	NKey string // file with the seed of an NKey; none
	CA   string // file with the certificates that vouch for the server's; the system's
	Cert string // file with this side's certificate, and
	Key  string // with its key; none

	Patience time.Duration // how long a worker may be silent about a task before another gets it; 30 s
}

// TokenVariable is the environment variable with the token of a queue.
const TokenVariable = "VITFT_QUEUE_TOKEN"

// Embedded is the URL of a queue in this process that nobody else sees.
const Embedded = "embedded"

// Fields declares the settings.
func (q *Queue) Fields() []setting.Field {
	return setting.In("queue",
		setting.Text("queue", &q.URL, "", func(text string) error { return Queue{URL: text}.check() },
			"tasks on a NATS queue: embedded, serve:HOST:PORT (open one here) or nats://HOST:PORT[,HOST:PORT…]").Here(),
		setting.Number("queue-patience", &q.Patience, 30*time.Second, setting.Between(time.Second, 24*time.Hour),
			"how long a worker may be silent about a task before another gets it").Here(),
		setting.LocalPath("queue-nkey", &q.NKey, "", "file with the seed of an NKey for the queue").Here(),
		setting.LocalPath("queue-ca", &q.CA, "", "file with the certificates that vouch for the queue's server").Here(),
		setting.LocalPath("queue-cert", &q.Cert, "", "file with this side's TLS certificate for the queue").Here(),
		setting.LocalPath("queue-key", &q.Key, "", "file with the key of --queue-cert").Here(),
	)
}

// credentials are those in a URL, which must not be shown.
var credentials = regexp.MustCompile(`://[^/]*@`)

func (q Queue) check() error {
	address, serve := strings.CutPrefix(q.URL, "serve:")
	switch {
	case q.URL == "" || q.URL == Embedded:
		return nil
	case serve:
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%q: write serve:HOST:PORT, such as serve:0.0.0.0:4222", q.URL)
		}
		return nil
	}
	for server := range strings.SplitSeq(q.URL, ",") {
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls":
			return fmt.Errorf("%q: write embedded, serve:HOST:PORT or nats://HOST:PORT,HOST:PORT",
				credentials.ReplaceAllString(q.URL, "://…@"))
		case u.User != nil:
			return errors.New("no credentials in the URL, which is shown: set " + TokenVariable +
				", or give --queue-nkey")
		}
	}
	return nil
}

// connection is an open queue.
type connection struct {
	server *server.Server // of this process, nil if it is elsewhere
	folder string         // of that server
	held   io.Closer      // that folder
	nats   *nats.Conn
	stream jetstream.JetStream
	tasks  string // the subject that those of the bucket's jobs are below

	patience time.Duration
	refusal  func(error) error     // that an error of connecting is, if waiting does not mend it
	tried    atomic.Pointer[error] // the last one
}

// streamName is the stream of all tasks, of any bucket.
const streamName = "VITFT"

// noPeers is the code of a cluster's error when it has fewer servers than a stream wants.
const noPeers = 10005

// tries is how often a task is given out.
const tries = 10

// open connects to the queue of a bucket's tasks, making stream and consumer where there are none.
func (q Queue) open(ctx context.Context, bucket string, ev event.Events) (_ *connection, err error) {
	c := &connection{tasks: "vitft.tasks." + bucket, patience: q.Patience}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	a, err := q.access()
	if err != nil {
		return nil, err
	}
	c.refusal = a.refusal
	if address, here := strings.CutPrefix(q.URL, "serve:"); here || q.URL == Embedded {
		url, err := c.serve(address, here, a)
		if err != nil {
			return nil, err
		}
		if c.nats, err = nats.Connect(url, append(a.inside(here), nats.InProcessServer(c.server))...); err != nil {
			return nil, fault.Config.Errorf("queue %s: %w", q.URL, err)
		}
		if here {
			ev.Info("the queue is open", "address", address)
		}
	} else if c.nats, err = a.connect(&c.tried); err != nil {
		return nil, err
	}
	if c.stream, err = jetstream.New(c.nats); err != nil {
		return nil, err
	}
	return c, nil
}

// serve starts a server in this process, whose tasks are in memory: the bucket says what is done.
func (c *connection) serve(address string, open bool, a access) (url string, err error) {
	o := &server.Options{ServerName: "vitft", DontListen: !open, JetStream: true, NoSigs: true, NoLog: true,
		Authorization: a.token}
	if a.public != "" {
		o.Nkeys = []*server.NkeyUser{{Nkey: a.public}}
	}
	if open {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return "", err
		}
		if o.Port, err = net.LookupPort("tcp", port); err != nil {
			return "", fault.Config.Errorf("queue: %w", err)
		}
		o.Host = host
		ip := net.ParseIP(host)
		if a.token == "" && a.public == "" && (ip == nil || !ip.IsLoopback()) && host != "localhost" {
			return "", fault.Config.Errorf("queue: %s can be reached by others: set %s here and for the workers to a "+
				"secret that they share, give --queue-nkey, or serve on 127.0.0.1", address, TokenVariable)
		}
		if a.tls != nil && len(a.tls.Certificates) > 0 {
			o.TLS, o.TLSConfig = true, &tls.Config{Certificates: a.tls.Certificates, MinVersion: tls.VersionTLS12}
		}
	}
	if c.folder, c.held, err = newFolder(os.TempDir()); err != nil {
		return "", err
	}
	o.StoreDir = c.folder
	if c.server, err = server.NewServer(o); err != nil {
		return "", fault.Config.Errorf("queue: %w", err)
	}
	c.server.Start()
	if !c.server.ReadyForConnections(10 * time.Second) {
		return "", fmt.Errorf("queue: the server at %s does not start; is the port in use?", address)
	}
	return c.server.ClientURL(), nil
}

// consumer is the workers' end of the queue. Stream and consumer are made where they are missing, also after somebody
// has deleted them.
func (c *connection) consumer(ctx context.Context) (jetstream.Consumer, error) {
	stream, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	// To make one that is there takes a server that keeps files ten times as long as to look.
	there, err := stream.Consumer(ctx, c.consumerName())
	if err == nil && there.CachedInfo().Config.AckWait == c.patience {
		return there, nil
	}
	return stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: c.consumerName(), FilterSubject: c.tasks + ".*",
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.patience, MaxDeliver: -1, MaxAckPending: 100_000,
	})
}

// workers counts those that ask for tasks, and the tasks that are given out.
func (c *connection) workers(ctx context.Context) (asking, busy int) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	consumer, err := c.stream.Consumer(ctx, streamName, c.consumerName())
	if err != nil {
		return 0, 0 // the first worker makes it
	}
	info := consumer.CachedInfo()
	return info.NumWaiting, info.NumAckPending
}

func (c *connection) consumerName() string { return strings.ReplaceAll(c.tasks, ".", "-") }

// refused is why the server does not want this side, or this side not the server, nil if they do, or have not met.
func (c *connection) refused() error {
	err := c.nats.LastError()
	if tried := c.tried.Load(); err == nil && tried != nil && !c.nats.IsConnected() {
		err = *tried
	}
	if refusal := c.refusal(err); refusal != nil {
		return refusal
	}
	if c.nats.IsClosed() {
		return fmt.Errorf("the queue has closed the connection: %w", cmp.Or(err, nats.ErrConnectionClosed))
	}
	return nil
}

// elsewhere goes to another server of a cluster. One that the others have lost, or to which packets get lost, is as
// good as none, though the connection stays.
func (c *connection) elsewhere() {
	if c.nats.IsConnected() && len(c.nats.Servers()) > 1 {
		_ = c.nats.ForceReconnect()
	}
}

// ready is the stream.
func (c *connection) ready(ctx context.Context) (jetstream.Stream, error) {
	config := jetstream.StreamConfig{Name: streamName, Subjects: []string{"vitft.tasks.>"},
		Retention: jetstream.WorkQueuePolicy, Duplicates: time.Minute}
	if c.server != nil {
		config.Storage = jetstream.MemoryStorage
	} else if servers := len(c.nats.Servers()); servers >= 3 {
		config.Replicas = 3
	}
	stream, err := c.stream.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = c.stream.CreateStream(ctx, config)
		if e, is := errors.AsType[*jetstream.APIError](err); is && e.ErrorCode == noPeers && config.Replicas > 1 {
			config.Replicas = 1 // of three servers one is down; what the stream has is a hint
			stream, err = c.stream.CreateStream(ctx, config)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = c.stream.Stream(ctx, streamName)
		}
	}
	return stream, err
}

// close ends the connection, and the server if it is here.
func (c *connection) close() {
	if c.server != nil && c.stream != nil { // else its end waits for those that have asked for tasks to be told
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = c.stream.DeleteStream(ctx, streamName)
		cancel()
	}
	if c.nats != nil {
		c.nats.Close()
	}
	if c.server != nil {
		c.server.Shutdown()
		c.server.WaitForShutdown()
	}
	if c.folder != "" {
		_ = os.RemoveAll(c.folder)
		_ = c.held.Close()
	}
}

// folderName begins the names of servers' folders.
const folderName = "vitft-queue-"

// newFolder makes a folder for a server, which others see to be in use until it is closed, and removes those of servers
// that were killed. One that was just made may not be held yet.
func newFolder(in string) (folder string, held io.Closer, err error) {
	old, _ := filepath.Glob(filepath.Join(in, folderName+"*"))
	for _, folder := range old {
		info, err := os.Lstat(folder)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Hour {
			continue
		}
		if lock, err := atomicfile.Lock(folder); err == nil { // of other users' folders there is none
			_ = os.RemoveAll(folder)
			_ = lock.Close()
		}
	}
	if folder, err = os.MkdirTemp(in, folderName); err == nil {
		held, err = atomicfile.Share(folder)
	}
	return folder, held, err
}
