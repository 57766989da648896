package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The cost of an Envoy's question, against a bare gRPC server that reads the same
// message and answers with the same: compare says how. An Envoy has one connection
// a thread, and as many streams in it as it has requests: those of a quiet one come
// one by one, those of a busy one together.

func BenchmarkExtAuthz(b *testing.B) {
	w, token := benchWorld(b)
	question := envoyQuestion(token)
	answer := checkOnce(b, w.Envoy, question)
	if codes.Code(answer.GetStatus().GetCode()) != codes.OK || answer.GetDynamicMetadata().GetFields()["outcome"].GetStringValue() != "VALID" {
		b.Fatal(answer)
	}
	bare := serveBare(b, answer)
	if got := checkOnce(b, bare, question); !proto.Equal(got, answer) {
		b.Fatal(got)
	}
	message, err := proto.Marshal(question)
	if err != nil {
		b.Fatal(err)
	}
	for _, streams := range []int{1, 16} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			to := func(address string, streams int) func() asker {
				return func() asker { return newGRPCAsker(b, address, message, streams) }
			}
			compare(b, contest{
				ours: to(w.Envoy, streams), bare: to(bare, streams), oursPaced: to(w.Envoy, 1), barePaced: to(bare, 1),
			})
		})
	}
}

// envoyQuestion is what the filter of deploy/gateway/envoy asks about a browser's request.
func envoyQuestion(token string) *authv3.CheckRequest {
	headers := &corev3.HeaderMap{}
	for _, h := range [][2]string{
		{":authority", "api.example.com"},
		{":path", "/renders/17"},
		{":method", "POST"},
		{":scheme", "https"},
		{"authorization", "Bearer " + token},
		{"user-agent", "bench"},
		{"accept", "*/*"},
		{"content-type", "application/json"},
		{"content-length", "17"},
		{"x-forwarded-for", "192.0.2.1"},
		{"x-forwarded-proto", "https"},
		{"x-request-id", "8f3c9a51-2c34-4a0f-8a7e-3b1f0f3c1d11"},
	} {
		headers.Headers = append(headers.Headers, &corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	address := func(host string, port uint32) *authv3.AttributeContext_Peer {
		return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}}}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: address("192.0.2.1", 4711), Destination: address("203.0.113.1", 443),
		Request: &authv3.AttributeContext_Request{Time: timestamppb.Now(), Http: &authv3.AttributeContext_HttpRequest{
			Id: "17", Method: "POST", Path: "/renders/17", Host: "api.example.com", Scheme: "https", Size: 17, Protocol: "HTTP/1.1", HeaderMap: headers,
		}},
		ContextExtensions: map[string]string{"environment": "live", "scope": "renders:create"},
		MetadataContext:   &corev3.Metadata{},
	}}
}

func checkOnce(b *testing.B, address string, q *authv3.CheckRequest) *authv3.CheckResponse {
	b.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	answer, err := authv3.NewAuthorizationClient(conn).Check(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// parrot answers every question alike.
type parrot struct {
	authv3.UnimplementedAuthorizationServer

	answer *authv3.CheckResponse
}

func (p parrot) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return p.answer, nil
}

func serveBare(b *testing.B, answer *authv3.CheckResponse) (address string) {
	b.Helper()
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, parrot{answer: answer})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	b.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

// grpcAsker asks a number of questions at a time, each in a stream of one
// connection. It says its headers in full once and refers to them from then on, as
// Envoy does.
type grpcAsker struct {
	net.Conn

	r       *bufio.Reader
	framer  *http2.Framer // writes to out
	out     bytes.Buffer
	headers []byte
	message []byte
	streams int
	last    uint32 // stream
	read    int    // bytes of answers that the server has not been told of
}

func newGRPCAsker(b *testing.B, address string, question []byte, streams int) *grpcAsker {
	b.Helper()
	c := &grpcAsker{streams: streams}
	c.Conn, c.r = dial(b, address)
	c.framer = http2.NewFramer(&c.out, nil)
	c.message = binary.BigEndian.AppendUint32([]byte{0}, uint32(len(question)))
	c.message = append(c.message, question...)
	c.out.WriteString(http2.ClientPreface)
	if err := c.framer.WriteSettings(); err != nil {
		b.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for range 2 { // the first fills the server's table
		block.Reset()
		for _, f := range [][2]string{
			{":method", "POST"},
			{":scheme", "http"},
			{":path", authv3.Authorization_Check_FullMethodName},
			{":authority", "landlord"},
			{"te", "trailers"},
			{"content-type", "application/grpc"},
			{"grpc-timeout", "3000m"},
			{"user-agent", "bench"},
		} {
			if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
				b.Fatal(err)
			}
		}
		if c.headers == nil {
			c.headers = bytes.Clone(block.Bytes())
			c.streams = 1
			if err := c.ask(); err != nil {
				b.Fatal(err)
			}
			c.streams = streams
		}
		c.headers = bytes.Clone(block.Bytes())
	}
	return c
}

func (c *grpcAsker) atOnce() int { return c.streams }

func (c *grpcAsker) ask() error {
	for range c.streams {
		c.last += 2
		if c.last == 2 {
			c.last = 1
		}
		// Writing to memory does not fail.
		_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: c.headers, EndHeaders: true})
		_ = c.framer.WriteData(c.last, true, c.message)
	}
	for open := c.streams; open > 0; {
		if c.out.Len() > 0 {
			if _, err := c.out.WriteTo(c.Conn); err != nil {
				return err
			}
		}
		ended, err := c.skipFrame()
		if err != nil {
			return err
		}
		if ended {
			open--
		}
	}
	return nil
}

// skipFrame reads one frame, and reports whether an answer ended with it.
func (c *grpcAsker) skipFrame() (ended bool, err error) {
	const size = 9
	head, err := c.r.Peek(size)
	if err != nil {
		return false, err
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	kind, flags := http2.FrameType(head[3]), http2.Flags(head[4])
	frame, err := c.r.Peek(size + min(length, 9))
	if err != nil {
		return false, err
	}
	start := frame[size:]
	switch kind {
	case http2.FrameHeaders:
		ended = flags.Has(http2.FlagHeadersEndStream)
	case http2.FrameData:
		// Of the message behind gRPC's 5 bytes the first field is the status, and empty when it lets pass.
		if !bytes.Equal(start[5:7], []byte{1<<3 | 2, 0}) {
			return false, fmt.Errorf("answered % x", start)
		}
		if c.read += length; c.read >= 1<<14 {
			_ = c.framer.WriteWindowUpdate(0, uint32(c.read))
			c.read = 0
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			_ = c.framer.WritePing(true, [8]byte(start))
		}
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			_ = c.framer.WriteSettingsAck()
		}
	case http2.FrameWindowUpdate: // it is wide enough for what is asked at a time
	default:
		return false, fmt.Errorf("a frame of kind %v", kind)
	}
	_, err = c.r.Discard(size + length)
	return ended, err
}
