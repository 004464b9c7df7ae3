// Asks a server for its health over TLS. Usage: main TARGET, in a folder with the files of TLS.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	authorities := x509.NewCertPool()
	pem, err := os.ReadFile("ca.pem")
	if err != nil || !authorities.AppendCertsFromPEM(pem) {
		log.Fatal("ca.pem: no certificate")
	}
	pair, err := tls.LoadX509KeyPair("client.pem", "client-key.pem")
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{pair}}
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.GetStatus())
}
