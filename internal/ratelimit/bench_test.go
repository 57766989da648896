package ratelimit_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/ratelimit"
)

func BenchmarkAllow(b *testing.B) {
	l := ratelimit.New[key](0)
	limit := ratelimit.PerMinute(1e9)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.Allow(now, numbered(1), limit, 1)
	}
}

func BenchmarkAllow_oneHotKeyParallel(b *testing.B) {
	l := ratelimit.New[key](0)
	limit := ratelimit.PerMinute(1e9)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Allow(now, numbered(1), limit, 1)
		}
	})
}

func BenchmarkAllow_millionKeysParallel(b *testing.B) {
	l := ratelimit.New[key](4 << 20)
	limit := ratelimit.PerMinute(600)
	now := time.Now()
	var k key
	for i := range uint64(1 << 20) {
		binary.LittleEndian.PutUint64(k.id[:], i)
		l.Allow(now, k, limit, 1)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var k key
		for i := uint64(0); pb.Next(); i++ {
			binary.LittleEndian.PutUint64(k.id[:], i*0x9E3779B97F4A7C15>>44)
			l.Allow(now, k, limit, 1)
		}
	})
}

func BenchmarkAllow_floodOfNewKeys(b *testing.B) {
	l := ratelimit.New[key](1 << 20)
	limit := ratelimit.PerMinute(600)
	now := time.Now()
	var k key
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		binary.LittleEndian.PutUint64(k.id[:], i)
		l.Allow(now, k, limit, 600)
	}
}

func BenchmarkAllowAll_three(b *testing.B) {
	l := ratelimit.New[key](0)
	limit := ratelimit.PerMinute(1e9)
	now := time.Now()
	requests := []ratelimit.Request[key]{{numbered(1), limit, 1}, {numbered(2), limit, 1}, {numbered(3), limit, 1}}
	decisions := make([]ratelimit.Decision, 3)
	b.ReportAllocs()
	for b.Loop() {
		l.AllowAll(now, requests, decisions)
	}
}
