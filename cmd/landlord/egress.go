package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/landlordhq/landlord/internal/outbound"
)

// egressFlags say what URLs of tenants may lead to.
type egressFlags struct {
	EgressAllow          []string      `help:"What URLs of tenants may lead to although it is not public: a network (10.20.0.0/16) on the permitted ports, or a host on one port (idp.corp:8443) or any (host:*), over plain http too as http://host:port." env:"LANDLORD_EGRESS_ALLOW" placeholder:"ENTRY"`
	EgressPorts          []uint16      `help:"Ports that URLs of tenants may name, beside 443 and 80." env:"LANDLORD_EGRESS_PORTS" placeholder:"PORT"`
	EgressAllowHTTP      bool          `help:"Let URLs of tenants be http:// everywhere." env:"LANDLORD_EGRESS_ALLOW_HTTP" name:"egress-allow-http"`
	EgressProxy          string        `help:"HTTP proxy through which URLs of tenants are reached: http://[USER:PASSWORD@]HOST:PORT, or https://. HTTP_PROXY and its like are not read." env:"LANDLORD_EGRESS_PROXY" placeholder:"URL"`
	EgressNoProxy        string        `help:"What is reached without that proxy: names with their subdomains, addresses and networks, separated by commas." env:"LANDLORD_EGRESS_NO_PROXY" placeholder:"LIST"`
	EgressCA             string        `help:"File with certificate authorities (PEM) that are trusted beside the system's." env:"LANDLORD_EGRESS_CA" name:"egress-ca" type:"path" placeholder:"FILE"`
	EgressTimeout        time.Duration `help:"How long an exchange with a URL of a tenant may take." env:"LANDLORD_EGRESS_TIMEOUT" default:"15s" placeholder:"DURATION"`
	EgressConnectTimeout time.Duration `help:"How long DNS and connecting may take of that, and how long TLS." env:"LANDLORD_EGRESS_CONNECT_TIMEOUT" default:"5s" placeholder:"DURATION"`
}

func (f egressFlags) config() (outbound.Config, error) {
	c := outbound.Config{
		Ports: f.EgressPorts, AllowHTTP: f.EgressAllowHTTP, Proxy: f.EgressProxy, NoProxy: f.EgressNoProxy,
		Timeout: f.EgressTimeout, DialTimeout: f.EgressConnectTimeout, TLSTimeout: f.EgressConnectTimeout,
	}
	if f.EgressTimeout <= 0 || f.EgressConnectTimeout <= 0 {
		return c, fmt.Errorf("--egress-timeout, --egress-connect-timeout: must be positive")
	}
	for _, s := range f.EgressAllow {
		a, err := outbound.ParseAllow(s)
		if err != nil {
			return c, fmt.Errorf("--egress-allow: %w", err)
		}
		c.Allow = append(c.Allow, a)
	}
	if f.EgressCA != "" {
		pem, err := os.ReadFile(filepath.Clean(f.EgressCA))
		if err != nil {
			return c, fmt.Errorf("--egress-ca: %w", err)
		}
		c.Roots = pem
	}
	return c, nil
}

// devEgress opens a developer's own machine, over plain http, so that a receiver on localhost gets its webhooks.
func devEgress() (outbound.Config, error) {
	return egressFlags{
		EgressAllow:   []string{"http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"},
		EgressTimeout: 15 * time.Second, EgressConnectTimeout: 5 * time.Second,
	}.config()
}
