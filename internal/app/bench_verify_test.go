package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
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
// bare handler's throughput (1 would be no cost at all). "bare/ours-cpu" is the
// same by the processor's time, client included: what else runs on a shared machine
// does not count in it. p99 is of requests that come at half of the rate that the
// bare handler can take at most, whether the answers come or not.
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
	compareHTTP(b, w.URL, request, `"outcome":"VALID"`)
}

func BenchmarkGateway_nginx(b *testing.B) {
	w, token := benchWorld(b)
	request := fmt.Sprintf("GET /gateway/nginx?environment=live&scope=renders:create HTTP/1.1\r\nHost: landlord\r\nAuthorization: Bearer %s\r\n"+
		"X-Forwarded-For: 192.0.2.1\r\nX-Original-Method: POST\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", token)
	compareHTTP(b, w.Private, request, "X-Landlord-Outcome: VALID")
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

// compareHTTP compares a server with a bare handler that imitates its answer.
func compareHTTP(b *testing.B, url, request, want string) {
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
	to := func(address string) func() asker {
		return func() asker {
			c, r := dial(b, address)
			return &httpAsker{c, r, request}
		}
	}
	theirs := strings.TrimPrefix(bare.URL, "http://")
	compare(b, contest{ours: to(ours), bare: to(theirs), oursPaced: to(ours), barePaced: to(theirs)})
}

// contest is how the two are asked, as much as they can answer and at a pace.
type contest struct{ ours, bare, oursPaced, barePaced func() asker }

// compare asks a server and a bare one in turns.
func compare(b *testing.B, of contest) {
	b.Helper()
	connections := 4 * runtime.GOMAXPROCS(0)
	ours, bare := several(connections, of.ours), several(connections, of.bare)
	many := 16 * connections // of which most wait, so that none is late because of the one before
	oursPaced, barePaced := several(many, of.oursPaced), several(many, of.barePaced)
	const turn, pacedTurn = 400, 2000 // questions before it is the other's turn
	each := max(1, turn/connections/ours[0].atOnce())
	round(b, ours, each)
	round(b, bare, each)
	n := float64(each * connections * ours[0].atOnce())
	full := func(all []asker) (took, cpu float64) {
		began := cpuTime(b)
		t := round(b, all, each)
		return t.Seconds(), float64(cpuTime(b) - began)
	}
	var tookOurs, tookBare, ratios, shares, tails []float64
	var lateOurs, lateBare []time.Duration
	var sum float64 // of the bare one's time
	for b.Loop() {
		turns := len(ratios)
		var o, z, oCPU, zCPU float64
		inTurns(turns, func() { o, oCPU = full(ours) }, func() { z, zCPU = full(bare) })
		tookOurs, tookBare, ratios, shares = append(tookOurs, o), append(tookBare, z), append(ratios, z/o), append(shares, zCPU/oCPU)
		sum += z
		if turns%pacedEvery != pacedEvery-1 {
			continue
		}
		// Half of what the bare one can, by its mean: what it can while nothing else runs, a busy machine does not give for long.
		every := 2 * time.Duration(sum/float64(turns+1)/n*float64(time.Second))
		var lo, lb []time.Duration
		inTurns(turns/pacedEvery, func() { lo = paced(b, oursPaced, pacedTurn, every) }, func() { lb = paced(b, barePaced, pacedTurn, every) })
		tails = append(tails, float64(percentile(lo, 99))/float64(percentile(lb, 99)))
		lateOurs, lateBare = append(lateOurs, lo...), append(lateBare, lb...)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/median(tookOurs), "ours/s")
	b.ReportMetric(n/median(tookBare), "bare/s")
	b.ReportMetric(median(ratios), "bare/ours")
	b.ReportMetric(median(shares), "bare/ours-cpu")
	if len(tails) == 0 {
		return
	}
	b.ReportMetric(float64(percentile(lateOurs, 99).Microseconds()), "ours-p99-µs")
	b.ReportMetric(float64(percentile(lateBare, 99).Microseconds()), "bare-p99-µs")
	b.ReportMetric(median(tails), "p99-ours/bare")
}

// inTurns does both, and has each begin every other time.
func inTurns(turn int, ours, bare func()) {
	if turn%2 == 1 {
		ours, bare = bare, ours
	}
	ours()
	bare()
}

// pacedEvery is after how many turns those at a pace come, which take longer.
const pacedEvery = 5

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
	c, r := dial(b, address)
	if _, err := io.WriteString(c, request); err != nil {
		b.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
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
