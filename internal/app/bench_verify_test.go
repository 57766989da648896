package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// The cost of asking landlord over HTTP, against a bare net/http handler that
// reads the same request and writes the same bytes. Both are asked in turns, so
// that what else the machine does weighs on both; "bare/ours" is our share of the
// bare handler's throughput (1 would be no cost at all).
//
// The load comes from raw connections that only write and count bytes: a client
// that did more would hide the difference.

func BenchmarkVerify_http(b *testing.B) {
	w, token := benchWorld(b)
	body, err := json.Marshal(map[string]any{
		"key": token, "environment": "live", "scopes": []string{"renders:create"}, "ip": "192.0.2.1",
	})
	if err != nil {
		b.Fatal(err)
	}
	verifier := w.service(b, "apikeys:verify")
	request := fmt.Sprintf("POST /v1/keys/verify HTTP/1.1\r\nHost: landlord\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		verifier, len(body), body)
	compare(b, w.URL, request, `"outcome":"VALID"`)
}

func BenchmarkGateway_nginx(b *testing.B) {
	w, token := benchWorld(b)
	request := fmt.Sprintf("GET /gateway/nginx?environment=live&scope=renders:create HTTP/1.1\r\nHost: landlord\r\nAuthorization: Bearer %s\r\n"+
		"X-Forwarded-For: 192.0.2.1\r\nX-Original-Method: POST\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", token)
	compare(b, w.Private, request, "X-Landlord-Outcome: VALID")
}

type benchReplica struct{ *apptest.World }

// benchWorld is a replica with a key that is never rate limited.
func benchWorld(b *testing.B) (benchReplica, string) {
	b.Helper()
	// The log is written as in production, but kept by nobody.
	w := benchReplica{apptest.New(b, func(c *app.Config) { c.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil)) })} //nolint:sloglint // writing the log is part of the cost
	tenant := id.New[id.Tenant]()
	if err := w.DB.AsOperator(b.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(b.Context(), `INSERT INTO tenants (id, slug, name, status) VALUES ($1, 'bench', 'Bench', 'active')`, tenant)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	key := w.made(b, "/v1/tenants/"+tenant.String()+"/api-keys", map[string]any{"name": "bench", "scopes": []string{"renders:*"}})
	if err := w.DB.AsOperator(b.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(b.Context(), `UPDATE api_keys SET rate_limit_rpm = 1000000000 WHERE tenant_id = $1`, tenant)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return w, key["token"].(string)
}

func (w benchReplica) made(b *testing.B, path string, body any) map[string]any {
	b.Helper()
	r := w.Do(b, apptest.Request{Method: "POST", Path: path, Token: w.Owner, Body: body})
	if r.Status != http.StatusCreated {
		b.Fatalf("%s: %d %s", path, r.Status, r.Body)
	}
	return r.JSON(b)
}

// service makes a service account and returns a token of it.
func (w benchReplica) service(b *testing.B, permission string) string {
	b.Helper()
	s := w.made(b, "/v1/services", map[string]any{"name": "bench", "permissions": []string{permission}})
	return w.made(b, "/v1/services/"+s["id"].(string)+"/tokens", map[string]any{"name": "bench"})["token"].(string)
}

// compare asks a server and a bare handler that imitates its answer in turns.
func compare(b *testing.B, url, request, want string) {
	b.Helper()
	ours := strings.TrimPrefix(url, "http://")
	status, header, body := sample(b, ours, request)
	if !strings.Contains(headerText(header)+string(body), want) {
		b.Fatalf("%d %v %s", status, header, body)
	}
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	b.Cleanup(bare.Close)
	theirs := strings.TrimPrefix(bare.URL, "http://")

	const turn = 50 // requests of each connection before the other server's turn
	connections := 4 * runtime.GOMAXPROCS(0)
	a, z := dialAll(b, ours, connections), dialAll(b, theirs, connections)
	round(b, a, request, turn)
	round(b, z, request, turn)
	var tookOurs, tookBare, ratios []float64
	for b.Loop() {
		o, z := round(b, a, request, turn).Seconds(), round(b, z, request, turn).Seconds()
		tookOurs, tookBare, ratios = append(tookOurs, o), append(tookBare, z), append(ratios, z/o)
	}
	n := float64(turn * connections)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/median(tookOurs), "ours/s")
	b.ReportMetric(n/median(tookBare), "bare/s")
	b.ReportMetric(median(ratios), "bare/ours")
}

// median of the turns, so that a turn in which the machine did something else
// doesn't count.
func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func headerText(h http.Header) string {
	var b bytes.Buffer
	_ = h.Write(&b)
	return b.String()
}

// sample asks once and returns the answer, without what net/http adds by itself.
func sample(b *testing.B, address, request string) (int, http.Header, []byte) {
	b.Helper()
	c := dial(b, address)
	if _, err := io.WriteString(c.Conn, request); err != nil {
		b.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	resp.Header.Del("Date")
	resp.Header.Del("Content-Length")
	return resp.StatusCode, resp.Header, body
}

type connection struct {
	net.Conn

	r *bufio.Reader
}

func dial(b *testing.B, address string) connection {
	b.Helper()
	c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return connection{c, bufio.NewReaderSize(c, 8<<10)}
}

func dialAll(b *testing.B, address string, n int) []connection {
	b.Helper()
	all := make([]connection, n)
	for i := range all {
		all[i] = dial(b, address)
	}
	return all
}

// round sends n requests on every connection and waits for their answers.
func round(b *testing.B, all []connection, request string, n int) time.Duration {
	b.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for range n {
				if _, err := io.WriteString(c.Conn, request); err != nil {
					b.Error(err)
					return
				}
				if err := skipAnswer(c.r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// skipAnswer reads one answer and keeps nothing of it.
func skipAnswer(r *bufio.Reader) error {
	length, first := 0, true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 20")) {
			return fmt.Errorf("answered %q", line)
		}
		first = false
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if _, err := fmt.Sscanf(string(v), "%d", &length); err != nil {
				return err
			}
		}
	}
	_, err := r.Discard(length)
	return err
}
