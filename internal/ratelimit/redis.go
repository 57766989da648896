package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

//go:embed gcra.lua
var gcra string

const (
	// keyPrefix keeps our keys apart from others' in the same database.
	keyPrefix   = "landlord:limit:"
	probeKey    = keyPrefix + "{probe}"
	probeSuffix = ":probe"
	// dialTimeout is how long a connection may take to be made, in the background: those who wait for one have
	// given up by then, the next will find it.
	dialTimeout = time.Second
)

// store is the buckets in Redis.
type store struct {
	client redis.UniversalClient
	script *redis.Script
}

func openStore(text string, timeout time.Duration) (*store, error) {
	logging.Disable() // what its pool would say is in the errors
	scheme, rest, _ := strings.Cut(text, "://")
	single, cluster := strings.CutSuffix(scheme, "-cluster")
	st := &store{script: redis.NewScript(gcra)}
	if cluster {
		o, err := redis.ParseClusterURL(single + "://" + rest)
		if err != nil {
			return nil, badURL(err)
		}
		o.Protocol, o.DisableIdentity, o.ContextTimeoutEnabled, o.PipelinePoolSize = 2, true, true, -1
		o.MaxRetries, o.DialerRetries, o.DialTimeout = -1, 1, dialTimeout
		o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		st.client = redis.NewClusterClient(o)
		return st, nil
	}
	o, err := redis.ParseURL(text)
	if err != nil {
		return nil, badURL(err)
	}
	o.Protocol, o.DisableIdentity, o.ContextTimeoutEnabled, o.PipelinePoolSize = 2, true, true, -1
	o.MaxRetries, o.DialerRetries, o.DialTimeout = -1, 1, dialTimeout
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	st.client = redis.NewClient(o)
	return st, nil
}

// badURL tells what is wrong with a URL without repeating it: it may hold a password.
func badURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("redis url: %w", err)
}

func (s *store) close() error { return s.client.Close() }

// answer is what the script returns; times are Unix nanoseconds.
type answer struct {
	spent bool
	now   int64
	tats  []int64
}

// decide runs the script: EVALSHA, and EVAL when Redis doesn't know it yet.
func (s *store) decide(ctx context.Context, keys []string, args []any) (answer, error) {
	reply, err := s.script.Run(ctx, s.client, keys, args...).Slice()
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(reply, len(keys))
}

func parseAnswer(reply []any, keys int) (answer, error) {
	if len(reply) != 2+keys {
		return answer{}, errAnswer
	}
	spent, ok1 := reply[0].(int64)
	micros, ok2 := reply[1].(int64)
	if !ok1 || !ok2 {
		return answer{}, errAnswer
	}
	a := answer{spent: spent == 1, now: micros * 1000, tats: make([]int64, keys)}
	for i, v := range reply[2:] {
		a.tats[i] = a.now
		if text, ok := v.(string); ok {
			tat, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return answer{}, errAnswer
			}
			a.tats[i] = tat
		}
	}
	return a, nil
}

var errAnswer = errors.New("redis answered something else than a decision")
