package main

import (
	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

// flags are the flags that say what to serve. They win over the file.
type flags struct {
	file      string
	overrides config.Overrides
}

func (f *flags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "config", "c", "", "configuration `FILE` (YAML or JSON); flags alone suffice, too")
	fs.StringArrayVar(&f.overrides.Schema, "schema", nil, "`PATH_OR_TARGET` that describes the services: an image (.binpb, .pb, .json), a folder of .proto files, or grpc://host:port for reflection; repeatable")
	fs.StringArrayVar(&f.overrides.Upstreams, "upstream", nil, "`[SELECTOR=]TARGET` where calls go, as in shop.orders.v1.*=dns:///orders:50051; repeatable")
	fs.StringArrayVar(&f.overrides.HTTPRules, "http-rules", nil, "service-config `FILE` (YAML) whose http.rules replace annotations; repeatable")
	fs.StringVar(&f.overrides.Profile, "profile", "", "whose clients are served: `strict`, grpc-gateway or envoy")
	fs.StringVar(&f.overrides.Codec, "codec", "", "how JSON becomes protobuf: `direct`, or reflect to compare with when in doubt")
	fs.BoolVar(&f.overrides.SkipInvalid, "skip-invalid", false, "leave out what cannot be served, with a warning, instead of refusing the whole schema")
}

// source is the configuration that the flags name.
func (f *flags) source(env config.Env) config.Source {
	return config.Source{Path: f.file, Env: env, Overrides: f.overrides}
}

// inspect builds what the flags describe.
func (f *flags) inspect(cmd *cobra.Command, env config.Env) (*gateway.Inspection, error) {
	i, err := gateway.Inspect(cmd.Context(), f.source(env))
	if err != nil {
		return nil, mistakes(err)
	}
	return i, nil
}
