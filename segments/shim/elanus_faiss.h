// What Elanus asks of FAISS: building a graph over rows that stay where they are, k-means, and facts about the build.
// Searching is not here: sealed indexes are read by Elanus' own code from its own format, so FAISS never sees stored bytes.
//
// Every function that can fail returns 0, or 1 with a zero-terminated reason in `error`; no exception leaves this file.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// The metrics, numbered as in proto::DistanceMetric: smaller results are nearer for all of them.
enum ElanusMetric { ELANUS_L2 = 0, ELANUS_INNER_PRODUCT = 1, ELANUS_COSINE = 2, ELANUS_L1 = 3 };

// Called between chunks with the number of rows linked; a result other than 0 ends the build.
typedef int (*ElanusProgress)(void* context, size_t done);

struct ElanusRows {
    const float* values;       // rows of `dimensions` elements without gaps
    size_t dimensions;
    const uint32_t* ordinals;  // the row of each node, ascending; null when node i is row i
    size_t count;              // nodes
};

struct ElanusGraph;

// `error` has room for 256 bytes. `graph` is freed with elanus_graph_free.
int elanus_graph_build(
        const ElanusRows* rows,
        int metric,
        int m,
        int ef_construction,
        int threads,
        ElanusProgress progress,
        void* context,
        ElanusGraph** graph,
        char* error);
void elanus_graph_free(ElanusGraph* graph);

struct ElanusGraphParts {
    const int32_t* levels;     // per node, the lowest layer alone is 1
    const size_t* offsets;     // nodes + 1 positions in `neighbours`
    const int32_t* neighbours; // per node 2m places of the lowest layer, then m per further layer; -1 is empty
    size_t neighbour_count;
    int32_t entry;             // -1 without nodes
    int32_t top_layer;         // -1 without nodes
};
void elanus_graph_parts(const ElanusGraph* graph, ElanusGraphParts* parts);

// k-means over `count` vectors into `lists` centroids (count >= lists); `spherical` keeps them at length 1.
int elanus_centroids(
        const float* values,
        size_t dimensions,
        size_t count,
        size_t lists,
        int spherical,
        int threads,
        float* centroids,
        char* error);

// The nearest centroid of each of `count` vectors, by inner product or else by L2.
int elanus_assign(
        const float* centroids,
        size_t dimensions,
        size_t lists,
        int inner_product,
        const float* values,
        size_t count,
        int threads,
        uint32_t* assigned,
        char* error);

// The instruction sets that FAISS was compiled for; a static string.
const char* elanus_faiss_options();
// FAISS' version, major * 10000 + minor * 100 + patch.
int elanus_faiss_version();
}
